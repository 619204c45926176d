"""`/v1/admin/services`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.answers import answer, returns
from api.deps import PartsDep, requires
from api.errors import problems
from api.pagination import MAX_CURSOR
from api.service_accounts.schemas import NewServiceAccount, ServiceAccountCredentials, ServiceAccountPage
from api.service_accounts.service import ServiceAccounts
from chat.models import Principal
from chat.permissions import Scope

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> ServiceAccounts:
    return ServiceAccounts(accounts=parts.stores.service_accounts)


Service = Annotated[ServiceAccounts, Depends(_service)]
Admin = Annotated[Principal, Depends(requires(Scope.ADMIN))]
Reader = Annotated[Principal, Depends(requires(Scope.ADMIN_READ))]
AccountId = Annotated[str, Path(max_length=64, examples=["svc-shop"])]


@router.post(
    "/v1/admin/services",
    status_code=201,
    summary="Let a program in",
    responses={
        **returns(ServiceAccountCredentials, "The account with its secret", status=201),
        **problems(401, 403, 409, 413),
    },
)
async def add(wish: NewServiceAccount, caller: Admin, service: Service) -> Response:
    """It gets tokens with `grant_type=client_credentials`. The secret is shown once. Codes: `id_taken`, `insufficient_scope`."""
    return answer(await service.add(wish, caller=caller), status=201)


@router.get(
    "/v1/admin/services",
    summary="Programs that were let in",
    responses={**returns(ServiceAccountPage, "Service accounts by id"), **problems(401, 403)},
)
async def page(
    caller: Reader,
    service: Service,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Without their secrets. Codes: `insufficient_scope`, `invalid_cursor`."""
    del caller
    return answer(await service.page(cursor=cursor, limit=limit))


@router.post(
    "/v1/admin/services/{service_id}/secret",
    summary="Give a program another secret",
    responses={**returns(ServiceAccountCredentials, "The account with its new secret"), **problems(401, 403, 404)},
)
async def new_secret(service_id: AccountId, caller: Admin, service: Service) -> Response:
    """The old one and all of its tokens end at once. Codes: `unknown_service`, `insufficient_scope`."""
    return answer(await service.new_secret(service_id, caller=caller))


@router.delete(
    "/v1/admin/services/{service_id}",
    status_code=204,
    summary="Let a program in no more",
    responses=problems(401, 403, 404),
)
async def remove(service_id: AccountId, caller: Admin, service: Service) -> Response:
    """Its tokens end at once. Codes: `unknown_service`, `insufficient_scope`."""
    await service.remove(service_id, caller=caller)
    return Response(status_code=204)
