"""A job queue that only remembers what it was given."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from chat.tracing import TraceContext

MAX_JOBS = 10_000


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its name (`chat.jobs`), its arguments, its queue, and the span that it belongs to."""

    name: str
    args: tuple[str, ...]
    queue: str
    trace: TraceContext | None = None


class MemoryJobQueue:
    """`chat.ports.JobQueue` for tests: `jobs` holds the newest ones, oldest first."""

    def __init__(self, *, max_jobs: int = MAX_JOBS) -> None:
        self.jobs: deque[Job] = deque(maxlen=max_jobs)

    async def enqueue(self, name: str, *args: str, queue: str, trace: TraceContext | None = None) -> None:
        """Remember a job."""
        self.jobs.append(Job(name, args, queue, trace))

    async def submit(self, name: str, *args: str, queue: str) -> None:
        """The same."""
        await self.enqueue(name, *args, queue=queue)
