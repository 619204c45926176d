"""What background jobs remember, in memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from adapters.memory.records import copied
from chat.background import JobRun


class MemoryJobStarts:
    """`chat.background.JobStarts` for one process."""

    def __init__(self) -> None:
        self._starts: defaultdict[str, int] = defaultdict(int)

    async def begin(self, job: str) -> int:
        """See `JobStarts.begin`."""
        self._starts[job] += 1
        return self._starts[job]

    async def end(self, job: str) -> None:
        """See `JobStarts.end`."""
        self._starts.pop(job, None)

    async def undo(self, job: str) -> None:
        """See `JobStarts.undo`."""
        if self._starts.get(job, 0) > 1:
            self._starts[job] -= 1
        else:
            self._starts.pop(job, None)


class MemoryLease:
    """`chat.background.Lease` for one process.

    Args:
        clock: seconds that only rise.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._holder = ""
        self._until = 0.0

    def take(self, holder: str, *, seconds: float) -> bool:
        """See `Lease.take`."""
        if holder != self._holder and self._clock() < self._until:
            return False
        self._holder, self._until = holder, self._clock() + seconds
        return True

    def give_back(self, holder: str) -> None:
        """See `Lease.give_back`."""
        if holder == self._holder:
            self._until = 0.0


class MemoryJobRuns:
    """`chat.background.JobRunStore` in memory."""

    def __init__(self) -> None:
        self._runs: dict[str, JobRun] = {}

    async def ran(self, job: str, *, at: datetime, rows: int, seconds: float) -> None:
        """See `JobRunStore.ran`."""
        run = self._runs.setdefault(job, JobRun(job))
        if run.at is None or run.at <= at:
            run.at, run.rows, run.seconds = at, rows, seconds

    async def move(self, job: str, position: str) -> None:
        """See `JobRunStore.move`."""
        self._runs.setdefault(job, JobRun(job)).position = position

    async def get(self, job: str) -> JobRun:
        """See `JobRunStore.get`."""
        return copied(self._runs.get(job, JobRun(job)))

    async def all(self) -> list[JobRun]:
        """See `JobRunStore.all`."""
        return [copied(self._runs[job]) for job in sorted(self._runs)]
