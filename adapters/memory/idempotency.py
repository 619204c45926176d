"""`IdempotencyStore` in memory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from chat.idempotency import Attempt

_EVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Row:
    """One key."""

    fingerprint: str
    seed: bytes
    lease: datetime
    expires_at: datetime
    answer: bytes | None = None


class MemoryIdempotency:
    """Rows by key.

    Attributes:
        rows: every one.
    """

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self.rows = self._rows

    async def begin(
        self, key: str, *, fingerprint: str, seed: bytes, now: datetime, lease: datetime, expires_at: datetime
    ) -> Attempt:
        """See `IdempotencyStore.begin`."""
        row = self._rows.get(key)
        if row is None or row.expires_at <= now:
            self._rows[key] = Row(fingerprint, seed, lease, expires_at)
            return Attempt(fingerprint, seed, mine=True)
        free = row.answer is None and row.lease <= now and row.fingerprint == fingerprint
        if free:
            row.lease = lease
        return Attempt(row.fingerprint, row.seed, mine=free, resumed=free, answer=row.answer)

    async def finish(self, key: str, answer: bytes) -> None:
        """See `IdempotencyStore.finish`."""
        if key in self._rows:
            self._rows[key].answer, self._rows[key].seed = answer, b""

    async def release(self, key: str) -> None:
        """See `IdempotencyStore.release`."""
        if key in self._rows:
            self._rows[key].lease = _EVER

    async def drop(self, key: str) -> None:
        """See `IdempotencyStore.drop`."""
        if key in self._rows and self._rows[key].answer is None:
            del self._rows[key]
