"""What workers remember of pushes that are under way, in memory."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

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
        self._sent: dict[str, set[str]] = {}

    async def acquire(self, message_id: str, *, seconds: float) -> str | None:
        """A lease on the event, or None while somebody else works on it or it is on hold."""
        if self._leased(message_id):
            return None
        lease = secrets.token_hex(8)
        self._leases[message_id] = (lease, self._clock() + seconds)
        self._claims.pop(message_id, None)
        return lease

    async def release(self, message_id: str, lease: str) -> None:
        """Give the lease back, if it is still ours."""
        if self._owns(message_id, lease):
            del self._leases[message_id]

    async def hold(self, message_id: str, lease: str, *, seconds: float) -> None:
        """Give the lease back, and let nobody have one for `seconds`."""
        if self._owns(message_id, lease):
            self._leases[message_id] = (_WAITING, self._clock() + seconds)

    async def sent(self, message_id: str, tokens: Sequence[str]) -> set[str]:
        """Those of `tokens` that `add_sent` has named."""
        return self._sent.get(message_id, set()).intersection(tokens)

    async def add_sent(self, message_id: str, token: str) -> None:
        """Remember that this token needs the event no more."""
        self._sent.setdefault(message_id, set()).add(token)

    async def claim(self, message_ids: Sequence[str], *, seconds: float) -> list[str]:
        """Those of the events that are free; they count as claimed for `seconds`."""
        now = self._clock()
        free = [
            message_id
            for message_id in message_ids
            if not self._leased(message_id) and self._claims.get(message_id, now) <= now
        ]
        self._claims |= dict.fromkeys(free, now + seconds)
        return free

    def _leased(self, message_id: str) -> bool:
        return message_id in self._leases and self._leases[message_id][1] > self._clock()

    def _owns(self, message_id: str, lease: str) -> bool:
        return self._leased(message_id) and self._leases[message_id][0] == lease
