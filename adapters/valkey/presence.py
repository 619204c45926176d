"""Who is connected: one hash per broker that lives as long as the broker beats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from adapters.valkey.connection import Valkey, unavailable

LIFETIME_MS = 30_000
"""A broker that has not beaten for so long is dead, and everybody it held is away."""

_BROKERS = "presence:brokers"
_WHOLE = ""  # no principal is empty
_CHUNK = 1_000  # fields per command: one huge command would hold up everybody else's


class ValkeyPresence:
    """`chat.ports.Presence` on Valkey; shapes at the head of this package."""

    def __init__(self, client: Valkey, *, lifetime_ms: int = LIFETIME_MS) -> None:
        self._client = client
        self._lifetime_ms = lifetime_ms

    async def replace(self, broker: str, online: Mapping[str, int]) -> None:
        """Swap the broker's table for this one; readers see the old one or the new one, never a mixture."""
        key = _key(broker)
        present = {user: count for user, count in online.items() if count > 0}
        with unavailable("take the presence of a broker"):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.delete(key)
                pipe.hset(key, _WHOLE, "1")
                rows = iter(present.items())
                while chunk := list(islice(rows, _CHUNK)):
                    pipe.hset(key, items=_flat(chunk))
                pipe.pexpire(key, self._lifetime_ms)
                pipe.sadd(_BROKERS, broker)
                await pipe.execute()

    async def update(self, broker: str, changes: Mapping[str, int]) -> None:
        """Set some numbers of connections; 0 takes the principal out."""
        if not changes:
            return
        key = _key(broker)
        present = {user: count for user, count in changes.items() if count > 0}
        gone = [user for user, count in changes.items() if count <= 0]
        with unavailable("take a change of presence"):
            async with self._client.pipeline(transaction=True) as pipe:
                if present:
                    pipe.hset(key, items=_flat(present.items()))
                if gone:
                    pipe.hdel(key, *gone)
                pipe.pexpire(key, self._lifetime_ms)
                pipe.sadd(_BROKERS, broker)
                await pipe.execute()

    async def heartbeat(self, broker: str) -> bool:
        """Keep the table for another 30 s; False when it is not whole and has to be replaced."""
        key = _key(broker)
        with unavailable("take a heartbeat"):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.hexists(key, _WHOLE)
                pipe.pexpire(key, self._lifetime_ms)
                # Once more, because a reader that found the table missing a moment ago has taken the name out.
                pipe.sadd(_BROKERS, broker)
                whole, *_ = await pipe.execute()
        return bool(whole)

    async def online(self, users: Sequence[str]) -> set[str]:
        """Those of `users` whom a living broker holds."""
        if not users:
            return set()
        found: set[str] = set()
        with unavailable("tell who is online"):
            brokers = [str(broker) for broker in await self._client.smembers(_BROKERS)]
            for start in range(0, len(users), _CHUNK):
                found |= await self._among(brokers, users[start : start + _CHUNK])
        return found

    async def _among(self, brokers: Sequence[str], users: Sequence[str]) -> set[str]:
        async with self._client.pipeline(transaction=False) as pipe:
            for broker in brokers:
                pipe.exists(_key(broker))
                pipe.hmget(_key(broker), list(users))
            answers = await pipe.execute()
        dead = [broker for broker, alive in zip(brokers, answers[0::2], strict=True) if not alive]
        if dead:
            await self._client.srem(_BROKERS, *dead)
        return {
            user
            for counts in answers[1::2]
            for user, count in zip(users, counts, strict=True)
            if count is not None and int(count) > 0
        }


def _flat(rows: Iterable[tuple[str, int]]) -> list[str | int]:
    return [word for row in rows for word in row]


def _key(broker: str) -> str:
    return f"presence:{broker}"
