"""Token buckets in one script on the server's clock, so that processes with different clocks share them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from adapters.valkey.connection import Valkey, unavailable

# KEYS[1]: the bucket. ARGV: rate (tokens per second), burst, cost.
_BUCKET = """
local now = redis.call('TIME')
local at = tonumber(now[1]) + tonumber(now[2]) / 1e6
local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or burst
local elapsed = math.max(0, at - (tonumber(bucket[2]) or at))
tokens = math.min(burst, tokens + elapsed * rate)
"""

# Answers are text: a number would be cut to an integer on its way out of Lua.
_SAVE = """redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', at))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / rate * 1000) + 1)
"""

# The seconds to wait; what was refused takes nothing.
_TAKE = f"""{_BUCKET}
local wait = 0
if tokens >= cost then tokens = tokens - cost else wait = (cost - tokens) / rate end
{_SAVE}
return string.format('%.6f', wait)
"""

# What is left, which may be a debt.
_SPEND = f"""{_BUCKET}
tokens = math.max(-burst, tokens - cost)
{_SAVE}
return string.format('%.6f', tokens)
"""

_CHUNK = 500  # buckets per round trip


class ValkeyRateLimiter:
    """`chat.ports.RateLimiter` on Valkey."""

    def __init__(self, client: Valkey) -> None:
        self._client = client
        self._take = client.register_script(_TAKE)
        self._spend = client.register_script(_SPEND)

    async def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> float:
        """Take `cost` from bucket `key`; 0.0 if granted, else seconds to wait (infinite when `cost` exceeds `burst`).

        Raises:
            ValueError: rate, burst or cost is not above 0.
            Unavailable: Valkey does not answer; the caller decides whether that grants or denies.
        """
        if min(rate, burst, cost) <= 0:
            raise ValueError(f"rate, burst and cost are above 0, not {rate}, {burst}, {cost}")
        if cost > burst:
            return math.inf
        with unavailable("take from a rate limit"):
            return float(await self._take(keys=[f"rate:{key}"], args=[rate, burst, cost]))

    async def spend(self, costs: Mapping[str, float], *, rate: float, burst: float) -> dict[str, float]:
        """See `RateLimiter.spend`; one round trip per 500 buckets.

        Raises:
            ValueError: rate, burst or a cost is not above 0.
            Unavailable: Valkey does not answer; some of it may have been charged.
        """
        if min(rate, burst, *costs.values()) <= 0:
            raise ValueError(f"rate, burst and costs are above 0, not {rate}, {burst}, {dict(costs)}")
        rows = list(costs.items())
        left: dict[str, float] = {}
        with unavailable("charge rate limits"):
            for start in range(0, len(rows), _CHUNK):
                async with self._client.pipeline(transaction=False) as pipe:
                    for key, cost in rows[start : start + _CHUNK]:
                        await self._spend(keys=[f"rate:{key}"], args=[rate, burst, cost], client=pipe)
                    answers = await pipe.execute()
                left.update(
                    (key, float(tokens)) for (key, _), tokens in zip(rows[start : start + _CHUNK], answers, strict=True)
                )
        return left

    async def forget(self, key: str) -> None:
        """See `RateLimiter.forget`.

        Raises:
            Unavailable: Valkey does not answer.
        """
        with unavailable("fill a rate limit"):
            await self._client.delete(f"rate:{key}")
