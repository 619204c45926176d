"""`BroadcastStore` in memory."""

from __future__ import annotations

from datetime import UTC, datetime

from adapters.memory.records import copied, to_ms
from chat.broadcasts import Broadcast, BroadcastState

_FREE = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryBroadcasts:
    """Broadcasts by id, and who has them until when."""

    def __init__(self) -> None:
        self._rows: dict[str, Broadcast] = {}
        self._leases: dict[str, datetime] = {}

    async def add(self, broadcast: Broadcast) -> bool:
        """See `BroadcastStore.add`."""
        if broadcast.id in self._rows:
            return False
        self._rows[broadcast.id] = copied(broadcast)
        return True

    async def get(self, broadcast: str) -> Broadcast | None:
        """See `BroadcastStore.get`."""
        return copied(self._rows[broadcast]) if broadcast in self._rows else None

    async def newest(self, *, before: datetime | None = None, limit: int, everybody: bool = False) -> list[Broadcast]:
        """See `BroadcastStore.newest`."""
        found = [
            copied(row)
            for row in sorted(self._rows.values(), key=lambda row: row.at, reverse=True)
            if (before is None or row.at < before)
            and not (everybody and (row.chats or (row.state is BroadcastState.CANCELLED and not row.told)))
        ]
        return found[: max(0, limit)]

    async def claim(self, *, now: datetime, until: datetime) -> Broadcast | None:
        """See `BroadcastStore.claim`."""
        free = [
            row
            for row in self._rows.values()
            if row.state is BroadcastState.RUNNING and self._leases.get(row.id, _FREE) <= now
        ]
        if not free:
            return None
        chosen = min(free, key=lambda row: self._leases.get(row.id, _FREE))
        self._leases[chosen.id] = to_ms(until)
        return copied(chosen)

    async def advance(
        self, was: Broadcast, *, position: str, told: int, refused: int, ended_at: datetime | None, until: datetime
    ) -> Broadcast | None:
        """See `BroadcastStore.advance`."""
        row = self._rows.get(was.id)
        if row is None or row.state is not BroadcastState.RUNNING or row.position != was.position:
            return None
        row.position, row.told, row.refused = position, row.told + told, row.refused + refused
        self._leases[row.id] = to_ms(until)
        if ended_at is not None:
            row.state, row.ended_at = BroadcastState.DONE, to_ms(ended_at)
        return copied(row)

    async def cancel(self, broadcast: str, at: datetime) -> bool:
        """See `BroadcastStore.cancel`."""
        row = self._rows.get(broadcast)
        if row is None or row.state is not BroadcastState.RUNNING:
            return False
        row.state, row.ended_at = BroadcastState.CANCELLED, to_ms(at)
        return True
