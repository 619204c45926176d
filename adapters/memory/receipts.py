"""`ReceiptStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
from chat.models import Receipt


class MemoryReceipts:
    """The log, one row per (chat, kind, user, seq).

    Attributes:
        by_place: every row, by those.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str, int], Receipt] = {}
        self.by_place = self._rows

    @property
    def rows(self) -> list[Receipt]:
        """Every row."""
        return list(self._rows.values())

    async def append(self, receipts: Sequence[Receipt]) -> None:
        """See `ReceiptStore.append`. A row that is there already stays: the first time is the true one."""
        for receipt in receipts:
            self._rows.setdefault((receipt.chat, receipt.kind, receipt.user, receipt.seq), copied(receipt))

    async def reached(self, chat: str, first: int, last: int) -> list[Receipt]:
        """See `ReceiptStore.reached`."""
        found: list[Receipt] = []
        behind: set[tuple[str, str]] = set()
        for row in sorted(self._rows.values(), key=lambda row: (row.seq, row.kind, row.user)):
            if row.chat != chat or row.seq < first or (row.kind, row.user) in behind:
                continue
            if row.seq > last:
                behind.add((row.kind, row.user))
            found.append(copied(row))
        return found
