"""Writing to the audit log from a request: who, from where, by which request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request

from api.clock import now
from api.deps import Caller, Holder, PartsDep, address_of
from chat.audit import AuditEntry
from chat.errors import PabalError
from chat.ports import Audit

_log = structlog.get_logger("audit")


@dataclass(frozen=True, slots=True)
class Trail:
    """The audit log, for one request.

    Attributes:
        by: the caller; empty for nobody who is known.
        address: where the request came from.
        request: its id.
    """

    audit: Audit
    by: str
    address: str
    request: str

    async def record(self, action: str, *, target: str = "", reason: str = "", **details: str | None) -> None:
        """Note what is about to be done. Call it before the change: then none is ever without its record.

        Args:
            details: more, by name, without secrets; those that are None are left out.

        Raises:
            Unavailable: it can't be noted; then it must not be done.
        """
        record = await self.audit.record(
            AuditEntry(
                action=action,
                by=self.by,
                at=now(),
                target=target,
                reason=reason,
                address=self.address,
                request=self.request,
                details={name: value for name, value in details.items() if value is not None},
            )
        )
        # The log's own copy of the chain: who changes the database does not change what has been collected from here.
        _log.info("audit.recorded", action=action, seq=record.seq, hash=record.hash)

    async def failed(self, action: str, error: PabalError, *, target: str = "") -> None:
        """Note that what was noted before has not been done.

        Raises:
            Unavailable: it can't be noted.
        """
        await self.record(f"{action}.failed", target=target, code=error.code)


def trail_of(parts: PartsDep, request: Request, by: str) -> Trail:
    """The trail of a request of `by`."""
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
    return Trail(parts.stores.audit, by, address_of(request), request_id)


async def _trail(parts: PartsDep, request: Request, caller: Caller) -> Trail:
    return trail_of(parts, request, caller.id)


async def _holder_trail(parts: PartsDep, request: Request, holder: Holder) -> Trail:
    return trail_of(parts, request, holder.id)


HolderTrail = Annotated[Trail, Depends(_holder_trail)]
"""The audit log, in the name of whoever shows a token."""

CallerTrail = Annotated[Trail, Depends(_trail)]
"""The audit log, in the name of the signed-in user."""
