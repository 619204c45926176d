"""The clock of regular jobs, in a thread of the worker's main process.

Celery's own `-B` forks a process for it, and that one lives on when the main process is killed: after each kill -9 another orphan
would send its jobs for ever. A thread cannot outlive its process.

Every worker may have one: who holds the lease starts the jobs, the others look every few seconds whether it has run out. Without Valkey
nobody holds it, and there is no queue either. A leader that froze, and wakes up when another has taken over, finds that out before each job
that it sends; what it sends in the moment between looking and sending is one run too many, which every job bears.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery import bootsteps
from celery.beat import EmbeddedService, PersistentScheduler

from chat.background import Lease
from chat.errors import Unavailable

LEASE_SECONDS = 15.0
"""A leader that was killed is succeeded after this."""

LOOK_SECONDS = LEASE_SECONDS / 5
"""How often who is no leader looks, and who is one renews it at least."""

_log = structlog.get_logger("beat")


class LeaderScheduler(PersistentScheduler):
    """Celery's clock, which moves on only while it has the lease. What is due when it gets it is started at once.

    Args:
        lease: of which there is one for all workers.
    """

    def __init__(self, *args: Any, lease: Lease, **named: Any) -> None:
        self._lease = lease
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._leads = False
        super().__init__(*args, **named)

    def tick(self, *args: Any, **named: Any) -> float:
        """One look at the schedule; seconds until the next."""
        if not self._led():
            return LOOK_SECONDS
        return min(LOOK_SECONDS, float(super().tick(*args, **named)))

    def close(self) -> None:
        """The next leader need not wait until the lease has run out."""
        if self._leads:
            self._leads = False
            try:
                self._lease.give_back(self._holder)
            except Unavailable:
                _log.info("beat.lease_left", seconds=LEASE_SECONDS)
        super().close()

    @property
    def leads(self) -> bool:
        """Whether it had the lease when it last looked."""
        return self._leads

    def _led(self) -> bool:
        try:
            has = self._lease.take(self._holder, seconds=LEASE_SECONDS)
        except Unavailable:
            has = False
        if has != self._leads:
            _log.info("beat.leads" if has else "beat.follows", holder=self._holder)
        self._leads = has
        return has


class BeatThread(bootsteps.StartStopStep):
    """A step of the worker's blueprint that runs the clock. Its memory is the file `beat_schedule_filename`."""

    label = "BeatThread"
    requires = ("celery.worker.components:Pool",)
    lease: Callable[[], Lease]

    def create(self, parent: Any) -> Any:
        """Make the clock; the blueprint starts it after the pool has forked, and stops it before the pool."""
        scheduler = partial(LeaderScheduler, lease=type(self).lease())
        return EmbeddedService(parent.app, thread=True, scheduler_cls=scheduler)

    @property
    def running(self) -> bool:
        """Whether the clock's thread lives."""
        return self.obj is not None and bool(self.obj.is_alive())

    @property
    def leads(self) -> bool:
        """Whether this worker starts the regular jobs."""
        return self.running and bool(self.obj.service.scheduler.leads)


def beat_step(lease: Callable[[], Lease]) -> type[BeatThread]:
    """The step with its lease, which is made when the clock is."""
    return type("BeatThread", (BeatThread,), {"lease": staticmethod(lease)})
