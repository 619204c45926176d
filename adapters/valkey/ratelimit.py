"""Token buckets in one script on the server's clock, so that processes with different clocks share them."""

from __future__ import annotations

import math

from adapters.valkey.connection import Valkey, unavailable

# KEYS[1]: the bucket. ARGV: rate (tokens per second), burst, cost. Answers the seconds to wait, as text: a number
# would be cut to an integer on its way out of Lua.
_TAKE = """
local now = redis.call('TIME')
local at = tonumber(now[1]) + tonumber(now[2]) / 1e6
local rate, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1]) or burst
local elapsed = math.max(0, at - (tonumber(bucket[2]) or at))
tokens = math.min(burst, tokens + elapsed * rate)
local wait = 0
if tokens >= cost then tokens = tokens - cost else wait = (cost - tokens) / rate end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.6f', at))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / rate * 1000) + 1)
return string.format('%.6f', wait)
"""


class ValkeyRateLimiter:
    """`chat.ports.RateLimiter` on Valkey."""

    def __init__(self, client: Valkey) -> None:
        self._take = client.register_script(_TAKE)

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
