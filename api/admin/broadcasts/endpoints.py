"""`/v1/admin/broadcasts`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import Administrator, AdministratorLooks
from api.admin.broadcasts.schemas import BroadcastPage, BroadcastsQuery, BroadcastView, NewBroadcast
from api.admin.broadcasts.service import BroadcastAdmin
from api.admin.users.schemas import WhyQuery
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])

_ONE = "/v1/admin/broadcasts/{broadcast}"


async def _service(parts: PartsDep) -> BroadcastAdmin:
    return BroadcastAdmin(parts.stores.broadcasts, parts.stores.admin)


Service = Annotated[BroadcastAdmin, Depends(_service)]


@router.post(
    "/v1/admin/broadcasts",
    status_code=201,
    summary="Tell everybody, or some chats",
    responses={
        **returns(BroadcastView, "A new broadcast", status=201),
        **returns(BroadcastView, "The one that has this id"),
        **problems(401, 403, 409, 413),
    },
)
async def make(wish: NewBroadcast, staff: Administrator, service: Service) -> Response:
    """Workers tell it: to inboxes as an `announcement`, in chats as a system event. Codes: `admin_only`, `invalid_id`, `id_taken`."""
    made, new = await service.make(wish, staff=staff)
    return answer(made, status=201 if new else 200)


@router.get(
    "/v1/admin/broadcasts",
    summary="Broadcasts",
    responses={**returns(BroadcastPage, "Broadcasts, newest first"), **problems(401, 403)},
)
async def broadcasts(
    query: Annotated[BroadcastsQuery, Query()], _staff: AdministratorLooks, service: Service
) -> Response:
    """With how far they have come. Codes: `admin_only`, `invalid_cursor`."""
    return answer(await service.page(query))


@router.get(
    _ONE,
    summary="A broadcast",
    responses={**returns(BroadcastView, "The broadcast"), **problems(401, 403, 404)},
)
async def broadcast(broadcast: str, _staff: AdministratorLooks, service: Service) -> Response:
    """With how far it has come. Codes: `admin_only`, `unknown_broadcast`."""
    return answer(await service.show(broadcast))


@router.delete(
    _ONE,
    summary="Stop a broadcast",
    responses={**returns(BroadcastView, "The broadcast as it is now"), **problems(401, 403, 404)},
)
async def cancel(broadcast: str, why: Annotated[WhyQuery, Query()], staff: Administrator, service: Service) -> Response:
    """Nobody else is told; one that is done stays so. Codes: `admin_only`, `unknown_broadcast`."""
    return answer(await service.cancel(broadcast, why.reason, staff=staff))
