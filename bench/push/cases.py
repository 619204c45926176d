"""What is measured of pushes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

BATCH = 10
"""Messages per batch of the bridge: what gathers in 20 ms at 500 messages/s."""

TOGETHER = 50
"""Messages per job: the bridge sends no more than ten jobs per second (`bridge.pushes.GATHER`)."""

PAIRS = 4_000
"""Chats of two, of whom one is away with one installation. Messages go round: no chat gets one while it rests after a push."""

GROUP = 5_000
"""Members of the large group, all away, with one installation each."""


class Kind(Enum):
    """What the messages are."""

    DIRECT = "direct"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement.

    Attributes:
        workers: pool processes.
        messages: that are stored before the worker gets its jobs; 0: they come at `rate`, for `seconds`.
    """

    kind: Kind
    workers: int
    messages: int = 0
    rate: float = 0.0
    seconds: float = 0.0


CASES: dict[str, Case] = {
    "direct, 1 process": Case(Kind.DIRECT, 1, messages=PAIRS),
    "direct, 2 processes": Case(Kind.DIRECT, 2, messages=PAIRS),
    "one message to 5,000": Case(Kind.GROUP, 1, messages=1),
    "500 messages/s, 1 process": Case(Kind.DIRECT, 1, rate=500.0, seconds=20.0),
    "500 messages/s, 2 processes": Case(Kind.DIRECT, 2, rate=500.0, seconds=20.0),
}
