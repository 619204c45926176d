"""The audit log: searched and verified. Nothing here changes it."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.audit_walk import walk
from api.admin.audit.schemas import AuditFault, AuditPage, AuditQuery, Verification, VerificationQuery
from api.pagination import invalid_cursor, pack, unpack
from chat.audit import Anchor, AuditSearch
from chat.ports import Audit

MAX_FAULTS = 100
"""More than that are not listed: one change breaks two places, and whoever changed hundreds is found by the first."""


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
        """Compute a piece of the chain anew, see `adapters.audit_walk`."""
        found = await walk(self.audit, Anchor(query.seq, query.hash), query.limit)
        faults = [AuditFault(seq, what) for seq, what in found.faults[:MAX_FAULTS]]
        return Verification(found.checked, faults, found.end.seq, found.end.hash, found.at, found.complete)


def _before(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    (text,) = unpack(cursor, 1)
    if not (text.isascii() and text.isdecimal() and len(text) < 17):
        raise invalid_cursor()
    return int(text)
