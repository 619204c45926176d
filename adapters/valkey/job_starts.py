"""Which jobs were begun and never ended."""

from __future__ import annotations

from adapters.valkey.connection import Valkey, unavailable

_SECONDS = 86_400
"""A day without another beginning, and it is forgotten."""

# KEYS[1]: the count. ARGV[1]: its seconds.
_BEGIN = """
local count = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return count
"""

# KEYS[1]: the count. What is not counted any more stays so: a count below one would never be forgotten.
_UNDO = """
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count <= 1 then return redis.call('DEL', KEYS[1]) end
return redis.call('DECR', KEYS[1])
"""


class ValkeyJobStarts:
    """`chat.background.JobStarts` on Valkey; shapes at the head of this package."""

    def __init__(self, client: Valkey) -> None:
        self._client = client
        self._begin = client.register_script(_BEGIN)
        self._undo = client.register_script(_UNDO)

    async def begin(self, job: str) -> int:
        """See `JobStarts.begin`."""
        with unavailable("count a job"):
            return int(await self._begin(keys=[_key(job)], args=[_SECONDS]))

    async def end(self, job: str) -> None:
        """See `JobStarts.end`."""
        with unavailable("forget a job"):
            await self._client.delete(_key(job))

    async def undo(self, job: str) -> None:
        """See `JobStarts.undo`."""
        with unavailable("count a job down"):
            await self._undo(keys=[_key(job)])


def _key(job: str) -> str:
    return f"job:{job}:starts"
