"""`/v1/admin/audit`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import AdministratorLooks
from api.admin.audit.schemas import AuditPage, AuditQuery, Verification, VerificationQuery
from api.admin.audit.service import AuditAdmin
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> AuditAdmin:
    return AuditAdmin(parts.stores.audit)


Service = Annotated[AuditAdmin, Depends(_service)]


@router.get(
    "/v1/admin/audit",
    summary="Search the audit log",
    responses={**returns(AuditPage, "Records, newest first"), **problems(401, 403)},
)
async def search(query: Annotated[AuditQuery, Query()], _staff: AdministratorLooks, service: Service) -> Response:
    """Who did what, when, from where and why. Codes: `admin_only`, `invalid_cursor`."""
    return answer(await service.page(query))


@router.get(
    "/v1/admin/audit/verification",
    summary="Verify the audit log",
    responses={**returns(Verification, "What was found"), **problems(401, 403)},
)
async def verify(
    query: Annotated[VerificationQuery, Query()], _staff: AdministratorLooks, service: Service
) -> Response:
    """Piece by piece: begin again behind the `seq` and `hash` of the piece before, until it is `complete`. Code: `admin_only`."""
    return answer(await service.verify(query))
