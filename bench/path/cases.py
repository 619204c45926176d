"""What the whole path is measured on: one row of the table each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

PAIRS = 20
CHATS = 40
SIZE = 1024
"""Bytes of payload."""


class System(StrEnum):
    """Who does the work."""

    PABAL = "Pabal"
    NAIVE = "Mosquitto + script"


@dataclass(frozen=True, slots=True)
class Messages:
    """Pairs of a writer and a reader, each in chats of its own.

    Attributes:
        window: unanswered messages of one writer.
        rate: messages/s of all together, whatever is unanswered; 0: as fast as the windows allow.
        chats: in all.
        bridges: processes that store.
        away: a third member of each chat is not there, so that each message is marked for a push.
        seconds: how long messages are sent.
        most: messages at most; the baseline acknowledges what it has not stored, so that its queue would grow for ever.
    """

    window: int = 20
    rate: int = 0
    chats: int = CHATS
    bridges: int = 1
    away: bool = False
    system: System = System.PABAL
    seconds: float = 6.0
    most: int = 10_000_000

    @property
    def title(self) -> str:
        """Of the row: what is not as usual."""
        parts = [f"{self.rate:,}/s" if self.rate else f"window {self.window}"]
        if self.chats != CHATS:
            parts.append(f"{self.chats:,} chats")
        if self.bridges > 1:
            parts.append(f"{self.bridges} bridges")
        if self.away:
            parts.append("a member away")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Group:
    """One message at a time to a large chat, part of whose members are connected."""

    members: int
    online: int
    messages: int = 5

    system = System.PABAL

    @property
    def title(self) -> str:
        """Of the row."""
        return f"a chat of {self.members:,}, {self.online:,} of them connected"


Case = Messages | Group

_GENTLE = 300
"""Messages/s that the baseline keeps up with."""

CASES: dict[str, Case] = {
    "window1": Messages(window=1),
    "window5": Messages(window=5),
    "window20": Messages(),
    "window50": Messages(window=50),
    "rate2000": Messages(rate=2_000),
    "rate300": Messages(rate=_GENTLE),
    "chats10": Messages(chats=10),
    "chats100": Messages(chats=100),
    "chats1000": Messages(chats=1_000),
    "chats10000": Messages(chats=10_000),
    "bridges2": Messages(bridges=2),
    "bridges4": Messages(bridges=4),
    "group": Group(5_000, 2_000),
    # The last one of ours: the worker goes on for a while with the pushes.
    "away": Messages(away=True),
    "naive": Messages(system=System.NAIVE, most=8_000),
    "naive300": Messages(system=System.NAIVE, rate=_GENTLE),
}


def shortened(case: Case) -> Case:
    """The same with less to do, for `--quick`."""
    match case:
        case Messages():
            return replace(case, seconds=3.0, most=case.most // 4, chats=min(case.chats, 2_000))
        case Group():
            return replace(case, members=case.members // 5, online=case.online // 5, messages=3)


def room(case: str, number: int) -> str:
    """The chat id. Each case has chats of its own, so that none begins with what another has left."""
    return f"g-bench-{case}-{number:05}"


def writer(number: int) -> str:
    """The handle of one who writes."""
    return f"writer{number:02}"


def reader(number: int) -> str:
    """The handle of one who reads."""
    return f"reader{number:02}"


def member(number: int) -> str:
    """The handle of one of a large chat."""
    return f"member{number:05}"


AWAY = "away"


def rooms_written(case: str, chats: int, number: int) -> list[str]:
    """Where writer `number` writes, in turn. With fewer chats than pairs several writers share one."""
    if chats < PAIRS:
        return [room(case, number % chats)]
    return [room(case, one) for one in range(number, chats, PAIRS)]


def rooms_read(case: str, chats: int, number: int) -> list[str]:
    """What reader `number` subscribes to: each chat has one reader, so that each message is delivered once."""
    return [room(case, one) for one in range(number, chats, PAIRS)]


def members(case: str, chats: int) -> dict[str, list[str]]:
    """Who writes and reads in each chat."""
    found: dict[str, list[str]] = {room(case, number): [] for number in range(chats)}
    for number in range(PAIRS):
        for chat in rooms_written(case, chats, number):
            found[chat].append(writer(number))
        for chat in rooms_read(case, chats, number):
            found[chat].append(reader(number))
    return found
