"""What workers remember of pushes that are under way."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

from adapters.valkey.connection import Valkey, unavailable
from chat.pushes import Leases, Pushed

_KEPT_SECONDS = 86_400
"""An event is given up long before (PABAL_WORKER_PUSH_MAX_AGE), so what was pushed in its chat is never missed."""

_WAITING = "wait"

# KEYS[1]: the lease. ARGV: a new holder's own value, milliseconds. The answer: '' (taken), or the milliseconds of a hold, or 0 (leased).
_ACQUIRE = f"""
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return '' end
if redis.call('GET', KEYS[1]) == '{_WAITING}' then return tostring(redis.call('PTTL', KEYS[1])) end
return '0'
"""

# KEYS[1]: the lease. ARGV: the holder's own value, then milliseconds of a hold (0: none).
_RELEASE = f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], '{_WAITING}', 'PX', ARGV[2])
return 1
"""

# KEYS[1]: a chat's hash. ARGV: seconds, then name, seq, rest of the value, and so on. What is known of a newer event stays.
_NOTE = """
for at = 2, #ARGV, 3 do
    local known = redis.call('HGET', KEYS[1], ARGV[at])
    if not known or tonumber(string.match(known, '^%d+')) <= tonumber(ARGV[at + 1]) then
        redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1] .. ARGV[at + 2])
    end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
"""


class ValkeyPushProgress:
    """`chat.pushes.PushProgress` on Valkey; shapes at the head of this package."""

    def __init__(self, client: Valkey) -> None:
        self._client = client
        self._acquire = client.register_script(_ACQUIRE)
        self._release = client.register_script(_RELEASE)
        self._note = client.register_script(_NOTE)

    async def acquire(self, chats: Collection[str], *, seconds: float) -> Leases:
        """See `PushProgress.acquire`; one round trip."""
        if not chats:
            return Leases({}, {})
        leases = {chat: secrets.token_hex(8) for chat in chats}
        with unavailable("lend pushes"):
            async with self._client.pipeline(transaction=False) as pipe:
                for chat, lease in leases.items():
                    await self._acquire(keys=[_lease(chat)], args=[lease, _milliseconds(seconds)], client=pipe)
                answers = await pipe.execute()
        found = dict(zip(leases, answers, strict=True))
        busy = {chat: max(0, int(answer)) / 1000 for chat, answer in found.items() if answer}
        return Leases({chat: lease for chat, lease in leases.items() if chat not in busy}, busy)

    async def release(self, leases: Mapping[str, str], *, hold: float = 0.0) -> None:
        """See `PushProgress.release`; one round trip."""
        if not leases:
            return
        milliseconds = _milliseconds(hold) if hold > 0 else 0
        with unavailable("take pushes back"):
            async with self._client.pipeline(transaction=False) as pipe:
                for chat, lease in leases.items():
                    await self._release(keys=[_lease(chat)], args=[lease, milliseconds], client=pipe)
                await pipe.execute()

    async def pushed(self, wanted: Mapping[str, Collection[str]]) -> dict[tuple[str, str], Pushed]:
        """See `PushProgress.pushed`; one round trip."""
        rows = [(chat, list(names)) for chat, names in wanted.items() if names]
        if not rows:
            return {}
        with unavailable("tell what was pushed"):
            async with self._client.pipeline(transaction=False) as pipe:
                for chat, names in rows:
                    pipe.hmget(_chat(chat), names)
                answers = await pipe.execute()
        return {
            (chat, name): _pushed(value)
            for (chat, names), values in zip(rows, answers, strict=True)
            for name, value in zip(names, values, strict=True)
            if value is not None
        }

    async def note(self, entries: Mapping[tuple[str, str], Pushed]) -> None:
        """See `PushProgress.note`; one round trip."""
        by_chat: dict[str, list[str | int]] = {}
        for (chat, name), pushed in entries.items():
            rest = f":{math.floor(pushed.at.timestamp() * 1000)}"
            by_chat.setdefault(chat, [_KEPT_SECONDS]).extend((name, pushed.seq, rest))
        if not by_chat:
            return
        with unavailable("remember pushes"):
            async with self._client.pipeline(transaction=False) as pipe:
                for chat, args in by_chat.items():
                    await self._note(keys=[_chat(chat)], args=args, client=pipe)
                await pipe.execute()

    async def forget(self, chat: str, names: Collection[str]) -> None:
        """See `PushProgress.forget`."""
        if names:
            with unavailable("forget pushes"):
                await self._client.hdel(_chat(chat), *names)

    async def claim(self, message_ids: Sequence[str], *, seconds: float) -> list[str]:
        """See `PushProgress.claim`; one round trip."""
        if not message_ids:
            return []
        with unavailable("tell which pushes are free"):
            async with self._client.pipeline(transaction=False) as pipe:
                for message_id in message_ids:
                    pipe.set(_swept(message_id), "1", nx=True, px=_milliseconds(seconds))
                claimed = await pipe.execute()
        return [message_id for message_id, ours in zip(message_ids, claimed, strict=True) if ours]

    async def postpone(self, message_ids: Collection[str], *, seconds: float) -> None:
        """See `PushProgress.postpone`; one round trip."""
        if not message_ids:
            return
        with unavailable("postpone pushes"):
            async with self._client.pipeline(transaction=False) as pipe:
                for message_id in message_ids:
                    pipe.set(_swept(message_id), "1", px=_milliseconds(seconds))
                await pipe.execute()


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _pushed(value: str) -> Pushed:
    seq, at = value.split(":")
    return Pushed(int(seq), datetime.fromtimestamp(int(at) / 1000, UTC))


def _lease(chat: str) -> str:
    return f"push:{chat}:lease"


def _chat(chat: str) -> str:
    return f"push:{chat}:pushed"


def _swept(message_id: str) -> str:
    return f"push:{message_id}:swept"
