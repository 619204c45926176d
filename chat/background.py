"""Ports of background work: who keeps the clock, which jobs die again and again, when each regular job last did its work."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class JobStarts(Protocol):
    """How often a job was begun and never ended, because it took its process along. It may be lost, as the queue may.

    Every method may raise `chat.errors.Unavailable`.
    """

    async def begin(self, job: str) -> int:
        """It begins; how often it has begun without an end, this time included."""
        ...

    async def end(self, job: str) -> None:
        """It has ended, well or not: what was counted is forgotten."""
        ...

    async def undo(self, job: str) -> None:
        """This beginning does not count: it did nothing."""
        ...


class Lease(Protocol):
    """Something that one at a time has, for some seconds. Called from a thread: its methods block for at most some seconds.

    Every method may raise `chat.errors.Unavailable`.
    """

    def take(self, holder: str, *, seconds: float) -> bool:
        """Have it, or have it for longer; False while another holder has it."""
        ...

    def give_back(self, holder: str) -> None:
        """Let it go, if `holder` has it."""
        ...


class JobRun(msgspec.Struct):
    """The last time that a regular job did its work.

    Attributes:
        rows: how much it did; what a row is depends on the job.
        seconds: how long it took.
        position: where it goes on; the job alone knows what it means. Empty: at the beginning.
    """

    job: str
    at: datetime | None = None
    rows: int = 0
    seconds: float = 0.0
    position: str = ""


class JobRunStore(Protocol):
    """Regular jobs: when they last did their work, and where they go on."""

    async def ran(self, job: str, *, at: datetime, rows: int, seconds: float) -> None:
        """It has done its work. An older `at` than the one that is stored changes nothing."""
        ...

    async def move(self, job: str, position: str) -> None:
        """It goes on there."""
        ...

    async def get(self, job: str) -> JobRun:
        """One job, also one that never ran."""
        ...

    async def all(self) -> list[JobRun]:
        """Every job that has ever run or moved, by name."""
        ...
