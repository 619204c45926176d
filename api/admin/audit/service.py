"""The audit log: searched and verified. Nothing here changes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from api.admin.audit.schemas import AuditFault, AuditPage, AuditQuery, Verification, VerificationQuery
from api.pagination import invalid_cursor, pack, unpack
from chat.audit import Anchor, AuditSearch, fault
from chat.ports import Audit

MAX_FAULTS = 100
"""More than that are not listed: one change breaks two places, and whoever changed hundreds is found by the first."""

BATCH = 1_000


@dataclass(frozen=True, slots=True)
class AuditAdmin:
    """The decisions of `/v1/admin/audit`."""

    audit: Audit

    async def page(self, query: AuditQuery) -> AuditPage:
        """One page, newest first.

        Raises:
            BadInput: `invalid_cursor`.
        """
        search = AuditSearch(query.by, query.action, query.target, query.since, query.until)
        found = await self.audit.search(search, before=_before(query.cursor), limit=query.limit + 1)
        items = found[: query.limit]
        return AuditPage(items=items, next=pack(items[-1].seq) if len(found) > query.limit else None)

    async def verify(self, query: VerificationQuery) -> Verification:
        """Compute a piece of the chain anew and compare it with what is stored; at its end, with where it had been."""
        head = await self.audit.head()  # before the records: what is written meanwhile is beyond it
        behind, checked = Anchor(query.seq, query.hash), 0
        faults = await self._held(behind)
        at: datetime | None = None
        complete = False
        while checked < query.limit and not complete:
            wanted = min(BATCH, query.limit - checked)
            records = await self.audit.after(behind.seq, wanted)
            complete = len(records) < wanted
            for record in records:
                wrong = fault(record, behind)
                if wrong is None and record.seq == head.seq and record.hash != head.hash:
                    wrong = "other_history"
                if wrong is not None:
                    faults.append(AuditFault(record.seq, wrong))
                behind, at = Anchor(record.seq, record.hash), record.at
            checked += len(records)
        if complete and behind.seq < head.seq:
            faults.append(AuditFault(behind.seq + 1, "cut_off"))
        return Verification(checked, faults[:MAX_FAULTS], behind.seq, behind.hash, at, complete)

    async def _held(self, known: Anchor) -> list[AuditFault]:
        """What is wrong with the place where it begins: the record that somebody knows must be there, and be that one."""
        if not known.seq:
            return []
        found = await self.audit.after(known.seq - 1, 1)
        if not found or found[0].seq != known.seq:
            return [AuditFault(known.seq, "missing" if found else "cut_off")]
        return [] if found[0].hash == known.hash else [AuditFault(known.seq, "other_history")]


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    (text,) = unpack(cursor, 1)
    if not (text.isascii() and text.isdecimal() and len(text) < 17):
        raise invalid_cursor()
    return int(text)
