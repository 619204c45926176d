"""What workers remember of pushes that are under way, in memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from adapters.memory.records import to_ms
from chat.pushes import Leases, Pushed

_WAITING = "wait"


class MemoryPushProgress:
    """`chat.pushes.PushProgress` for one process; it forgets nothing but leases, so it is for tests and small tools.

    Args:
        clock: seconds that only rise.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leases: dict[str, tuple[str, float]] = {}
        self._claims: dict[str, float] = {}
        self._pushed: dict[tuple[str, str], Pushed] = {}

    async def acquire(self, chats: Collection[str], *, seconds: float) -> Leases:
        """See `PushProgress.acquire`."""
        found = Leases({}, {})
        for chat in chats:
            holder, until = self._leases.get(chat, ("", 0.0))
            if holder and until > self._clock():
                found.busy[chat] = until - self._clock() if holder == _WAITING else 0.0
                continue
            found.ours[chat] = secrets.token_hex(8)
            self._leases[chat] = (found.ours[chat], self._clock() + seconds)
        return found

    async def release(self, leases: Mapping[str, str], *, hold: float = 0.0) -> None:
        """See `PushProgress.release`."""
        for chat, lease in leases.items():
            holder, until = self._leases.get(chat, ("", 0.0))
            if holder != lease or until <= self._clock():
                continue
            if hold > 0:
                self._leases[chat] = (_WAITING, self._clock() + hold)
            else:
                del self._leases[chat]

    async def pushed(self, wanted: Mapping[str, Collection[str]]) -> dict[tuple[str, str], Pushed]:
        """See `PushProgress.pushed`."""
        keys = [(chat, name) for chat, names in wanted.items() for name in names]
        return {key: self._pushed[key] for key in keys if key in self._pushed}

    async def note(self, entries: Mapping[tuple[str, str], Pushed]) -> None:
        """See `PushProgress.note`."""
        for key, pushed in entries.items():
            if key not in self._pushed or self._pushed[key].seq <= pushed.seq:
                self._pushed[key] = Pushed(pushed.seq, to_ms(pushed.at))

    async def forget(self, chat: str, names: Collection[str]) -> None:
        """See `PushProgress.forget`."""
        for name in names:
            self._pushed.pop((chat, name), None)

    async def claim(self, message_ids: Sequence[str], *, seconds: float) -> list[str]:
        """See `PushProgress.claim`."""
        now = self._clock()
        free = [message_id for message_id in message_ids if self._claims.get(message_id, now) <= now]
        self._claims |= dict.fromkeys(free, now + seconds)
        return free

    async def postpone(self, message_ids: Collection[str], *, seconds: float) -> None:
        """See `PushProgress.postpone`."""
        self._claims |= dict.fromkeys(message_ids, self._clock() + seconds)
