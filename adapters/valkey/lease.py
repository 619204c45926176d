"""One at a time: a lease that runs out by itself."""

from __future__ import annotations

from redis import ConnectionPool, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.valkey.connection import TIMEOUT, unavailable

# KEYS[1]: the lease. ARGV: the holder, milliseconds.
_TAKE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# KEYS[1]: the lease. ARGV: the holder.
_GIVE_BACK = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class ValkeyLease:
    """`chat.background.Lease` on Valkey, for a thread: calls block, for a few seconds at most.

    Args:
        url: of the Valkey.
        name: of what is lent.
    """

    def __init__(self, url: str, name: str) -> None:
        pool = ConnectionPool.from_url(
            url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 1)
        )
        self._client = Redis.from_pool(pool)
        self._key = f"lease:{name}"
        self._take = self._client.register_script(_TAKE)
        self._give_back = self._client.register_script(_GIVE_BACK)

    def take(self, holder: str, *, seconds: float) -> bool:
        """See `Lease.take`."""
        with unavailable("lend a lease"):
            return bool(self._take(keys=[self._key], args=[holder, max(1, round(seconds * 1000))]))

    def give_back(self, holder: str) -> None:
        """See `Lease.give_back`."""
        with unavailable("take a lease back"):
            self._give_back(keys=[self._key], args=[holder])

    def close(self) -> None:
        """End the connections."""
        self._client.close()
