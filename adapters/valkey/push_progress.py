"""What workers remember of pushes that are under way."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from adapters.valkey.connection import Valkey, unavailable

_SENT_SECONDS = 86_400
"""An event is given up long before (PABAL_WORKER_PUSH_MAX_AGE), so its set is never missed."""

_WAITING = "wait"

# KEYS[1]: the lease. ARGV: the holder's own value, then what becomes of it: nothing, or a hold with its milliseconds.
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""


class ValkeyPushProgress:
    """`chat.pushes.PushProgress` on Valkey; shapes at the head of this package."""

    def __init__(self, client: Valkey) -> None:
        self._client = client
        self._release = client.register_script(_RELEASE)

    async def acquire(self, message_id: str, *, seconds: float) -> str | None:
        """A lease on the event, or None while somebody else works on it or it is on hold.

        The claim of a sweeper ends here: if the lease is not given back, the next sweep after it finds the event again.
        """
        lease = secrets.token_hex(8)
        with unavailable("lend a push"):
            taken = await self._client.set(_lease(message_id), lease, nx=True, px=_milliseconds(seconds))
            if taken:
                await self._client.delete(_swept(message_id))
        return lease if taken else None

    async def release(self, message_id: str, lease: str) -> None:
        """Give the lease back, if it is still ours."""
        with unavailable("take a push back"):
            await self._release(keys=[_lease(message_id)], args=[lease, "", 0])

    async def hold(self, message_id: str, lease: str, *, seconds: float) -> None:
        """Give the lease back, and let nobody have one for `seconds`."""
        with unavailable("hold a push"):
            await self._release(keys=[_lease(message_id)], args=[lease, _WAITING, _milliseconds(seconds)])

    async def sent(self, message_id: str, tokens: Sequence[str]) -> set[str]:
        """Those of `tokens` that `add_sent` has named."""
        if not tokens:
            return set()
        with unavailable("tell which pushes were sent"):
            known = await self._client.smismember(_sent(message_id), [_hash(token) for token in tokens])
        return {token for token, is_known in zip(tokens, known, strict=True) if is_known}

    async def add_sent(self, message_id: str, token: str) -> None:
        """Remember that this token needs the event no more."""
        key = _sent(message_id)
        with unavailable("remember a push"):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.sadd(key, _hash(token))
                pipe.expire(key, _SENT_SECONDS)
                await pipe.execute()

    async def claim(self, message_ids: Sequence[str], *, seconds: float) -> list[str]:
        """Those of the events that are free; they count as claimed for `seconds`."""
        if not message_ids:
            return []
        with unavailable("tell which pushes are free"):
            async with self._client.pipeline(transaction=False) as pipe:
                for message_id in message_ids:
                    pipe.exists(_lease(message_id))
                leased = await pipe.execute()
            free = [message_id for message_id, busy in zip(message_ids, leased, strict=True) if not busy]
            async with self._client.pipeline(transaction=False) as pipe:
                for message_id in free:
                    pipe.set(_swept(message_id), "1", nx=True, px=_milliseconds(seconds))
                claimed = await pipe.execute()
        return [message_id for message_id, ours in zip(free, claimed, strict=True) if ours]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _hash(token: str) -> str:
    """Half of SHA-256 in hex: a push token is a secret of its installation and does not belong into a cache."""
    return hashlib.sha256(token.encode()).hexdigest()[:32]


def _lease(message_id: str) -> str:
    return f"push:{message_id}:lease"


def _sent(message_id: str) -> str:
    return f"push:{message_id}:sent"


def _swept(message_id: str) -> str:
    return f"push:{message_id}:swept"
