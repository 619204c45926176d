"""What people want of pushes: what a lock screen may show, whether a mention passes a mute, and when they are not to be woken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from enum import StrEnum
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from chat.errors import BadInput


class Shows(StrEnum):
    """How much of a message a push shows."""

    TEXT = "text"
    SENDER = "sender"
    """Who wrote, and nothing of what."""
    NOTHING = "nothing"
    """That there is something, and nothing else."""


class QuietHours(msgspec.Struct, frozen=True):
    """The part of each day in which somebody is not woken. It may pass midnight; `start` belongs to it, `end` does not.

    Attributes:
        start, end: `HH:MM`, what the clocks on the wall of `zone` show.
        zone: an IANA time zone, such as `Asia/Seoul`.
    """

    start: str
    end: str
    zone: str

    def holds(self, now: datetime) -> bool:
        """Whether `now` (aware) is within.

        What counts is the clock on the wall, so that nobody has to think of summer time: of an hour that a clock shows twice both are within,
        and one that it leaves out is missed by nobody.
        """
        wall = now.astimezone(_zone(self.zone)).time()
        start, end = time.fromisoformat(self.start), time.fromisoformat(self.end)
        return start <= wall < end if start < end else wall >= start or wall < end


class PushPreferences(msgspec.Struct):
    """One user's wishes; whoever has none stored has these.

    Attributes:
        mentions: a message that names them passes their mute.
    """

    user: str
    shows: Shows = Shows.TEXT
    mentions: bool = True
    quiet: QuietHours | None = None


class PushPreferenceStore(Protocol):
    """What users want of pushes. One document per user who has said something.

    Every method may raise `chat.errors.Unavailable`.
    """

    async def put(self, preferences: PushPreferences) -> None:
        """Store them, in place of those before."""
        ...

    async def of_users(self, users: Sequence[str]) -> dict[str, PushPreferences]:
        """Those of many users; who has none is absent."""
        ...


def check_quiet(start: str, end: str, zone: str) -> QuietHours:
    """Quiet hours that can be kept.

    Raises:
        BadInput: `unknown_time_zone`, `empty_quiet_hours`.
    """
    try:
        _zone(zone)
    except (ValueError, OSError, LookupError):  # no such file, a directory, a path that leads out
        raise BadInput("this is no IANA time zone, such as Asia/Seoul", code="unknown_time_zone") from None
    if start == end:
        raise BadInput("quiet hours end at another time than they start", code="empty_quiet_hours")
    return QuietHours(start, end, zone)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
