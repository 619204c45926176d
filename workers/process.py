"""What one pool process keeps between jobs: an event loop and the services that live on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from chat.background import JobRunStore, JobStarts
from chat.ports import DeadLetterStore, MessageStore
from workers.audit import AuditCheck
from workers.broadcast import Broadcaster
from workers.erase import Eraser
from workers.push.deliver import PushDelivery
from workers.push.sweep import PushSweep
from workers.push.withdraw import Withdrawals
from workers.retention import Retention
from workers.statistics import RollUp
from workers.unread_audit import UnreadAudit
from workers.upkeep import Compaction, Hygiene

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """What jobs call. `close` ends connections and threads; without a link to the broker there is no `broadcaster`."""

    delivery: PushDelivery
    withdrawals: Withdrawals
    sweep: PushSweep
    eraser: Eraser
    retention: Retention
    hygiene: Hygiene
    compaction: Compaction
    roll_up: RollUp
    audit_log: AuditCheck
    unread_audit: UnreadAudit
    broadcaster: Broadcaster | None
    starts: JobStarts
    runs: JobRunStore
    letters: DeadLetterStore
    messages: MessageStore
    close: Callable[[], Awaitable[None]]


class PoolProcess:
    """The loop and the services of this process; made before the pool forks, filled in each child.

    One loop for all jobs: connections belong to the loop that made them, and a new loop per job would connect anew for each push.
    The services are opened by the first job, because Celery gives a child a few seconds to come up and Mongo may be away.

    Args:
        open_services: connect to everything; may raise `Unavailable`.
    """

    def __init__(self, open_services: Callable[[], Awaitable[Services]]) -> None:
        self._open_services = open_services
        self._runner: asyncio.Runner | None = None
        self._services: Services | None = None

    def start(self) -> None:
        """In the child, after the fork."""
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def run(self, job: Callable[[Services], Coroutine[Any, Any, T]]) -> T:
        """Run one job's coroutine to its end.

        Raises:
            RuntimeError: outside of a pool process.
            Unavailable: the services can't be opened now; the next job tries again.
        """
        if self._runner is None:
            raise RuntimeError("jobs run in pool processes only")
        return self._runner.run(self._with_services(job))

    def stop(self) -> None:
        """In the child, before it ends."""
        if self._runner is None:
            return
        if self._services is not None:
            self._runner.run(_awaited(self._services.close()))
        self._runner.close()
        self._runner = self._services = None

    async def _with_services(self, job: Callable[[Services], Coroutine[Any, Any, T]]) -> T:
        if self._services is None:
            self._services = await self._open_services()
        return await job(self._services)


async def _awaited(something: Awaitable[None]) -> None:
    await something
