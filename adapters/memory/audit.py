"""`Audit` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from chat.audit import Anchor, AuditEntry, AuditRecord, AuditSearch, seal


class MemoryAudit:
    """The chain as a list."""

    def __init__(self) -> None:
        self._records: list[AuditRecord] = []

    async def record(self, entry: AuditEntry) -> AuditRecord:
        """See `Audit.record`."""
        record = seal(entry, await self.head())
        self._records.append(record)
        return record

    async def record_all(self, entries: Sequence[AuditEntry]) -> list[AuditRecord]:
        """See `Audit.record_all`."""
        return [await self.record(entry) for entry in entries]

    async def search(self, search: AuditSearch, *, before: int | None = None, limit: int = 50) -> list[AuditRecord]:
        """See `Audit.search`."""
        wanted = (
            record
            for record in reversed(self._records)
            if (before is None or record.seq < before) and search.finds(record)
        )
        return [record for _, record in zip(range(limit), wanted, strict=False)]

    async def after(self, seq: int, limit: int) -> list[AuditRecord]:
        """See `Audit.after`."""
        return [record for record in self._records if record.seq > seq][: max(0, limit)]

    async def head(self) -> Anchor:
        """See `Audit.head`."""
        return Anchor(self._records[-1].seq, self._records[-1].hash) if self._records else Anchor()
