"""Statistics: what happened per hour and per day (UTC), counted once and added up.

| figure | counted from | meaning |
|---|---|---|
| `messages` | stored events of type `message` | in the hour in which they were stored |
| `active_users` | their senders and those of other events | people, each once per hour and once per day; no devices, no services |
| `deliveries` | the log of receipts | by how many events the delivered marks of members rose; of their own sends too, when others' come with them |
| latencies | the log of receipts | from stored to acknowledged, of the newest event of each such rise that is not the member's own |

Latencies are kept as a histogram: histograms of hours add up to those of days, percentiles do not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

import msgspec

from chat.ids import is_device, is_service

BOUNDS_MS = (5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000, 600_000, 3_600_000, 86_400_000)
"""Upper bounds of the histogram's buckets; what took longer than a day counts as a day. Marks are coalesced for 0.2 s by default
(PABAL_BRIDGE_RECEIPTS_EVERY), so nothing finer than that is true."""


class Span(StrEnum):
    """What is counted together."""

    HOUR = "hour"
    DAY = "day"

    def begin(self, at: datetime) -> datetime:
        """The start of the span that `at` is in."""
        hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return hour if self is Span.HOUR else hour.replace(hour=0)

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return timedelta(hours=1) if self is Span.HOUR else timedelta(days=1)


class Figures(msgspec.Struct):
    """What happened in one span.

    Attributes:
        latencies: how many deliveries per bucket of `BOUNDS_MS`.
    """

    begin: datetime
    messages: int = 0
    active_users: int = 0
    deliveries: int = 0
    latencies: list[int] = []

    def percentile(self, share: float) -> int | None:
        """Milliseconds within which that share of the deliveries came: the upper bound of its bucket. None without any."""
        rest = share * sum(self.latencies)
        if not rest:
            return None
        for bound, count in zip(BOUNDS_MS, self.latencies, strict=True):
            rest -= count
            if rest <= 0:
                return bound
        return BOUNDS_MS[-1]


class RolledUp(msgspec.Struct, frozen=True):
    """How far one run came.

    Attributes:
        events, receipts: rows that were counted.
        done: nothing is left that could be counted now.
    """

    events: int
    receipts: int
    done: bool


class StatisticsStore(Protocol):
    """Roll-ups of what is stored. Reading them reads nothing else."""

    async def roll_up(self, *, now: datetime, limit: int) -> RolledUp:
        """Count up to about `limit` rows that have not been counted. Each is counted exactly once, however often this is called, by
        however many processes, and whenever one of them is killed.
        """
        ...

    async def figures(self, span: Span, *, since: datetime, until: datetime) -> list[Figures]:
        """The spans that begin from `since` to before `until`, rising; those in which nothing happened are absent."""
        ...

    async def counted_until(self) -> datetime | None:
        """When the last run that left nothing began; None before the first."""
        ...


class Tally:
    """What one batch of rows adds, per span."""

    def __init__(self) -> None:
        self.messages: Counter[datetime] = Counter()
        self.users: defaultdict[datetime, set[str]] = defaultdict(set)
        self.deliveries: Counter[datetime] = Counter()
        self.latencies: defaultdict[datetime, Counter[int]] = defaultdict(Counter)

    def event(self, type_: str, sender: str, at: datetime) -> None:
        """One stored event."""
        hour = Span.HOUR.begin(at)
        self.messages[hour] += type_ == "message"
        if type_ != "void" and not is_device(sender) and not is_service(sender):
            self.users[hour].add(sender)

    def delivery(self, at: datetime, rise: int) -> None:
        """One rise of a delivered mark."""
        self.deliveries[Span.HOUR.begin(at)] += max(0, rise)

    def latency(self, at: datetime, took: timedelta) -> None:
        """How long one event took to be acknowledged at `at`. Clocks of two machines may differ: below nothing is nothing."""
        bucket = bisect_left(BOUNDS_MS, max(0.0, took.total_seconds() * 1000))
        self.latencies[Span.HOUR.begin(at)][min(bucket, len(BOUNDS_MS) - 1)] += 1

    def hours(self) -> set[datetime]:
        """Every hour that something is added to."""
        return {hour for hour, count in self.messages.items() if count} | set(self.deliveries) | set(self.latencies)
