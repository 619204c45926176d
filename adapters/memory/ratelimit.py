"""Token buckets in memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

MAX_BUCKETS = 100_000
"""The bucket that was used longest ago is forgotten first: full again, most likely."""


class MemoryRateLimiter:
    """`chat.ports.RateLimiter` for one process.

    Args:
        clock: seconds that only rise.
        max_buckets: how many keys are remembered.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, max_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> float:
        """Take `cost` from bucket `key`; 0.0 if granted, else seconds to wait (infinite when `cost` exceeds `burst`).

        Raises:
            ValueError: rate, burst or cost is not above 0.
        """
        if min(rate, burst, cost) <= 0:
            raise ValueError(f"rate, burst and cost are above 0, not {rate}, {burst}, {cost}")
        if cost > burst:
            return math.inf
        tokens = self._tokens(key, rate, burst)
        granted = tokens >= cost
        self._keep(key, tokens - cost if granted else tokens)
        return 0.0 if granted else (cost - tokens) / rate

    async def spend(self, costs: Mapping[str, float], *, rate: float, burst: float) -> dict[str, float]:
        """See `RateLimiter.spend`.

        Raises:
            ValueError: rate, burst or a cost is not above 0.
        """
        if min(rate, burst, *costs.values()) <= 0:
            raise ValueError(f"rate, burst and costs are above 0, not {rate}, {burst}, {dict(costs)}")
        left = {key: max(-burst, self._tokens(key, rate, burst) - cost) for key, cost in costs.items()}
        for key, tokens in left.items():
            self._keep(key, tokens)
        return left

    async def forget(self, key: str) -> None:
        """See `RateLimiter.forget`."""
        self._buckets.pop(key, None)

    def _tokens(self, key: str, rate: float, burst: float) -> float:
        now = self._clock()
        tokens, at = self._buckets.get(key, (burst, now))
        return min(burst, tokens + max(0.0, now - at) * rate)

    def _keep(self, key: str, tokens: float) -> None:
        self._buckets[key] = (tokens, self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._max_buckets:
            self._buckets.popitem(last=False)
