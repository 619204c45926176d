"""`/v1/admin/services`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.admin.access import Administrator, AdministratorLooks
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems
from api.pagination import MAX_CURSOR
from api.service_accounts.schemas import NewServiceAccount, ServiceAccountCredentials, ServiceAccountPage
from api.service_accounts.service import ServiceAccounts

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> ServiceAccounts:
    return ServiceAccounts(accounts=parts.stores.service_accounts)


Service = Annotated[ServiceAccounts, Depends(_service)]
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
async def add(wish: NewServiceAccount, staff: Administrator, service: Service) -> Response:
    """It gets tokens with `grant_type=client_credentials`. The secret is shown once. Codes: `id_taken`, `admin_only`."""
    return answer(await service.add(wish, staff=staff), status=201)


@router.get(
    "/v1/admin/services",
    summary="Programs that were let in",
    responses={**returns(ServiceAccountPage, "Service accounts by id"), **problems(401, 403)},
)
async def page(
    _staff: AdministratorLooks,
    service: Service,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Without their secrets. Codes: `admin_only`, `invalid_cursor`."""
    return answer(await service.page(cursor=cursor, limit=limit))


@router.post(
    "/v1/admin/services/{service_id}/secret",
    summary="Give a program another secret",
    responses={**returns(ServiceAccountCredentials, "The account with its new secret"), **problems(401, 403, 404)},
)
async def new_secret(service_id: AccountId, staff: Administrator, service: Service) -> Response:
    """The old one and all of its tokens end at once. Codes: `unknown_service`, `admin_only`."""
    return answer(await service.new_secret(service_id, staff=staff))


@router.delete(
    "/v1/admin/services/{service_id}",
    status_code=204,
    summary="Let a program in no more",
    responses=problems(401, 403, 404),
)
async def remove(service_id: AccountId, staff: Administrator, service: Service) -> Response:
    """Its tokens end at once. Codes: `unknown_service`, `admin_only`."""
    await service.remove(service_id, staff=staff)
    return Response(status_code=204)
