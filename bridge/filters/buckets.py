"""Token buckets that answer at once, from memory, and are shared with the other bridges all the same.

Each bridge decides by its own copy of a bucket. What it let pass it charges to the shared bucket (`chat.ports.RateLimiter`) a few
times a second, and takes over what is left there when that is less. So one sender whose chats are spread over several bridges has
one bucket; they may pass, once, what the bridges let through between two of those moments and `UNREPORTED` of the burst for each
bridge. Without the shared bucket (Valkey is away) each bridge goes on by its own copy.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from chat.errors import Unavailable
from chat.ports import RateLimiter

MAX_BUCKETS = 50_000
"""Kept per filter; the ones longest unused are forgotten first, and whoever is forgotten starts with a full bucket."""

UNREPORTED = 0.01
"""Of the burst: what is less stays uncharged for now, so that a thousand quiet senders cost no round trip."""

_log = structlog.get_logger("rates")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    used: float = 0.0  # and not charged to the shared bucket yet


class Buckets:
    """One bucket per key.

    Args:
        name: begins the shared keys: `{name}:{key}`.
        rate: tokens per second in the long run.
        burst: tokens at once.
        shared: None for a bridge that is alone.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        name: str,
        *,
        rate: float,
        burst: float,
        shared: RateLimiter | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_buckets: int = MAX_BUCKETS,
    ) -> None:
        self.rate = rate
        self._name = name
        self._burst = burst
        self._shared = shared
        self._clock = clock
        self._max_buckets = max_buckets
        self._report_from = max(1.0, burst * UNREPORTED)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._due: dict[str, _Bucket] = {}
        self._alone = False

    def take(self, key: str) -> float:
        """Take one token; 0.0 if granted, else the seconds until there is one (which takes nothing)."""
        now = self._clock()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now)
            if len(self._buckets) > self._max_buckets:
                forgotten, _ = self._buckets.popitem(last=False)
                self._due.pop(forgotten, None)
        else:
            self._buckets.move_to_end(key)
            tokens = bucket.tokens + (now - bucket.at) * self.rate
            bucket.tokens = tokens if tokens < self._burst else self._burst  # noqa: FURB136 - min() costs a call
            bucket.at = now
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / self.rate
        bucket.tokens -= 1.0
        bucket.used += 1.0
        if bucket.used >= self._report_from:
            self._due[key] = bucket
        return 0.0

    async def share(self) -> None:
        """Charge to the shared buckets what was used, and take over what is left there. Never raises: without them it goes on alone."""
        if self._shared is None or not self._due:
            return
        due, self._due = self._due, {}
        costs = {key: bucket.used for key, bucket in due.items()}
        for bucket in due.values():
            bucket.used = 0.0
        try:
            left = await self._shared.spend(
                {f"{self._name}:{key}": cost for key, cost in costs.items()}, rate=self.rate, burst=self._burst
            )
        except Unavailable as error:
            self._go_alone(due, costs, error)
            return
        if self._alone:
            self._alone = False
            _log.info("rates.shared", name=self._name)
        for key, bucket in due.items():
            # What has been used since is not charged yet.
            bucket.tokens = min(bucket.tokens, left[f"{self._name}:{key}"] - bucket.used)

    def _go_alone(self, due: dict[str, _Bucket], costs: dict[str, float], error: Unavailable) -> None:
        """Keep what is owed, up to a bucketful, for when the shared buckets are back."""
        for key, bucket in due.items():
            bucket.used = min(self._burst, bucket.used + costs[key])
            if key in self._buckets:
                self._due[key] = bucket
        if not self._alone:
            self._alone = True
            _log.warning("rates.alone", name=self._name, reason=error.reason)
