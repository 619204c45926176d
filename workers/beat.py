"""The clock of regular jobs, in a thread of the worker's main process.

Celery's own `-B` forks a process for it, and that one lives on when the main process is killed: after each kill -9 another orphan
would send its jobs for ever. A thread cannot outlive its process. Several workers may have one each: the jobs bear it.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.beat import EmbeddedService


class BeatThread(bootsteps.StartStopStep):
    """A step of the worker's blueprint that runs the clock. Its memory is the file `beat_schedule_filename`."""

    label = "BeatThread"
    requires = ("celery.worker.components:Pool",)

    def create(self, parent: Any) -> Any:
        """Make the clock; the blueprint starts it after the pool has forked, and stops it before the pool."""
        return EmbeddedService(parent.app, thread=True)

    @property
    def running(self) -> bool:
        """Whether the clock's thread lives."""
        return self.obj is not None and bool(self.obj.is_alive())
