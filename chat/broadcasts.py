"""Broadcasts: one announcement to everybody, or into some chats; a job that goes on where it ended, whoever does it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

MAX_TEXT = 4_000
"""Characters of an announcement."""

MAX_CHATS = 1_000
"""Chats that one broadcast may name."""


class BroadcastState(StrEnum):
    """Where a broadcast is in its life."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class Broadcast(msgspec.Struct):
    """An announcement and how far it has come.

    Attributes:
        id: a UUID that whoever makes it chooses: the same again is the same broadcast. Receivers know it by this id.
        chats: where it goes; empty: to everybody's inbox.
        total: how many users, or chats, there were when it was made.
        position: the last user that was told, or how many chats.
        told: users or chats that have it.
        refused: chats that don't take it (they are gone).
    """

    id: str
    text: str
    by: str
    at: datetime
    chats: list[str] = []
    total: int = 0
    state: BroadcastState = BroadcastState.RUNNING
    position: str = ""
    told: int = 0
    refused: int = 0
    ended_at: datetime | None = None


class BroadcastStore(Protocol):
    """Broadcasts, and who works on them."""

    async def add(self, broadcast: Broadcast) -> bool:
        """Store a new one. False if there is one with that id."""
        ...

    async def get(self, broadcast: str) -> Broadcast | None:
        """One of them."""
        ...

    async def newest(self, *, before: datetime | None = None, limit: int, everybody: bool = False) -> list[Broadcast]:
        """The newest first, from before a time; with `everybody` only those that were for all, and were not cancelled before anybody had it."""
        ...

    async def claim(self, *, now: datetime, until: datetime) -> Broadcast | None:
        """The oldest one that runs and that nobody works on, for oneself until a time."""
        ...

    async def advance(
        self, was: Broadcast, *, position: str, told: int, refused: int, ended_at: datetime | None, until: datetime
    ) -> Broadcast | None:
        """Note how far it has come, if it runs and still stands where it was; None when it does not: then leave it.

        Args:
            told, refused: how many more.
            ended_at: it is done.
            until: it is one's own for so long.
        """
        ...

    async def cancel(self, broadcast: str, at: datetime) -> bool:
        """Go no further. False if it does not run (any more)."""
        ...


def position_of(chats: Sequence[str], position: str) -> int:
    """How many of the named chats have been told."""
    return min(len(chats), int(position or "0"))
