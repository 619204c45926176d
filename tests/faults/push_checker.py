"""The checker of pushes: what a provider was sent and answered, and what is stored in the end, against what is promised. Pure.

| finding | means |
|---|---|
| `forgotten` | its mark is still there, or it ended without having been sent, parked or found dead |
| `early` | sent again before the Retry-After that the provider named had passed |
| `retried` | sent again after an answer that is final: 400 or 404 |
| `unparked` | refused for good, and not in dead letters |
| `undead` | the installation is gone, and its token is still there |
| `unasked` | somebody was pushed for whom there was nothing |

What is under way when a worker or Valkey is killed may be sent once more: nobody has noted the answer. Of such a push nothing follows, as long as the
kill was within `UNDER_WAY` seconds of the answer; `excused` counts them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from tests.faults.checker import Finding

UNDER_WAY = 1.0
"""Seconds between the provider's answer and the last note of it, and a little for clocks."""

CLOCKS = 0.02
"""Seconds that the provider's clock and the worker's may differ: they are one machine's, read at the two ends of a request."""

FINAL = frozenset({400, 404})


class Fate(StrEnum):
    """What the provider answers first; then 200."""

    TAKEN = "200"
    QUOTA = "429"
    UNAVAILABLE = "503"
    INTERNAL = "500"
    INVALID = "400"
    GONE = "404"
    HANGS = "hangs"


@dataclass(frozen=True, slots=True)
class Asked:
    """One message for one installation.

    Attributes:
        retry_after: seconds, named with a 429 or 503; 0: none was named.
    """

    message: str
    token: str
    fate: Fate
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request, as the provider wrote it down: when it was answered, Unix time."""

    token: str
    status: int
    at: float


@dataclass(slots=True)
class PushRun:
    """Everything that is known about a run.

    Attributes:
        kills: Unix times at which something was killed or emptied.
        marked: messages whose mark is still there.
        parked: messages that are in dead letters.
        tokens: those that are still stored.
    """

    asked: list[Asked] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)
    parked: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)

    def under_way(self, attempt: Attempt) -> bool:
        """Whether something was killed while its answer may not have been noted."""
        return any(abs(kill - attempt.at) <= UNDER_WAY for kill in self.kills)

    @property
    def excused(self) -> int:
        """Pushes of which nothing follows."""
        return len({attempt.token for attempt in self.attempts if attempt.status != 200 and self.under_way(attempt)})


def check(run: PushRun) -> list[Finding]:
    """Every contradiction."""
    attempts: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in sorted(run.attempts, key=lambda attempt: attempt.at):
        attempts[attempt.token].append(attempt)
    found = [finding for asked in run.asked for finding in _one(run, asked, attempts[asked.token])]
    known = {asked.token for asked in run.asked}
    return found + [Finding("unasked", token) for token in sorted(attempts.keys() - known) if attempts[token]]


def _one(run: PushRun, asked: Asked, attempts: list[Attempt]) -> Iterator[Finding]:
    who = f"{asked.message} ({asked.fate})"
    statuses = [attempt.status for attempt in attempts]
    ended = 200 in statuses or asked.message in run.parked or 404 in statuses
    if asked.message in run.marked or not ended:
        yield Finding("forgotten", f"{who}: {statuses}")
    for before, after in pairwise(attempts):
        if run.under_way(before):
            continue
        if before.status in FINAL:
            yield Finding("retried", f"{who}: {statuses}")
        elif before.status != 200 and after.at - before.at < asked.retry_after - CLOCKS:
            yield Finding("early", f"{who}: after {after.at - before.at:.2f} s of {asked.retry_after:g}")
    if 400 in statuses and asked.message not in run.parked:
        yield Finding("unparked", who)
    if 404 in statuses and asked.token in run.tokens:
        yield Finding("undead", who)
