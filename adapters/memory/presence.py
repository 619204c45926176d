"""Presence in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

LIFETIME = 30.0


@dataclass(slots=True)
class _Table:
    expires: float
    whole: bool = False
    connections: dict[str, int] = field(default_factory=dict)


class MemoryPresence:
    """`chat.ports.Presence` for one process.

    Args:
        lifetime: seconds that a broker's table lives without a beat.
        clock: seconds that only rise.
    """

    def __init__(self, *, lifetime: float = LIFETIME, clock: Callable[[], float] = time.monotonic) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._tables: dict[str, _Table] = {}

    async def replace(self, broker: str, online: Mapping[str, int]) -> None:
        """Swap the broker's table for this one."""
        present = {user: count for user, count in online.items() if count > 0}
        self._tables[broker] = _Table(self._until(), whole=True, connections=present)

    async def update(self, broker: str, changes: Mapping[str, int]) -> None:
        """Set some numbers of connections; 0 takes the principal out."""
        if not changes:
            return
        table = self._living(broker)
        for user, count in changes.items():
            if count > 0:
                table.connections[user] = count
            else:
                table.connections.pop(user, None)
        if table.whole or table.connections:
            table.expires = self._until()
            self._tables[broker] = table

    async def heartbeat(self, broker: str) -> bool:
        """Keep the table for another 30 s; False when it is not whole and has to be replaced."""
        table = self._living(broker)
        table.expires = self._until()
        return table.whole

    async def online(self, users: Sequence[str]) -> set[str]:
        """Those of `users` whom a living broker holds."""
        now = self._clock()
        self._tables = {name: table for name, table in self._tables.items() if table.expires > now}
        return {user for user in users if any(user in table.connections for table in self._tables.values())}

    def _living(self, broker: str) -> _Table:
        """The broker's table, or a new one that is in nobody's sight yet."""
        table = self._tables.get(broker)
        return table if table is not None and table.expires > self._clock() else _Table(self._until())

    def _until(self) -> float:
        return self._clock() + self._lifetime
