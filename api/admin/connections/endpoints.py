"""`/v1/admin/connections`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import Moderator, ModeratorLooks
from api.admin.connections.schemas import (
    ConnectionPage,
    ConnectionsQuery,
    Disconnected,
    DisconnectQuery,
    LiveConnectionDetail,
)
from api.admin.connections.service import ConnectionAdmin
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])

_ONE = "/v1/admin/connections/{client}"


async def _service(parts: PartsDep) -> ConnectionAdmin:
    return ConnectionAdmin(parts.connections, parts.stores.admin)


Service = Annotated[ConnectionAdmin, Depends(_service)]


@router.get(
    "/v1/admin/connections",
    summary="Who is connected",
    responses={**returns(ConnectionPage, "Connections by client id"), **problems(401, 403)},
)
async def connections(
    query: Annotated[ConnectionsQuery, Query()], _staff: ModeratorLooks, service: Service
) -> Response:
    """For moderators; from the broker. Codes: `admin_only`, `invalid_cursor`, `unavailable`."""
    return answer(await service.page(query))


@router.get(
    _ONE,
    summary="A connection",
    responses={**returns(LiveConnectionDetail, "The connection, or the session that waits"), **problems(401, 403, 404)},
)
async def connection(client: str, _staff: ModeratorLooks, service: Service) -> Response:
    """For moderators; with its subscriptions. Codes: `admin_only`, `unknown_connection`, `unavailable`."""
    return answer(await service.show(client))


@router.delete(
    _ONE,
    summary="Disconnect a client",
    responses={**returns(Disconnected, "What became of it"), **problems(401, 403, 404)},
)
async def disconnect(
    client: str, query: Annotated[DisconnectQuery, Query()], staff: Moderator, service: Service
) -> Response:
    """For moderators; it may come back at once. Codes: `admin_only`, `unknown_connection`, `unavailable`."""
    return answer(await service.disconnect(client, query, staff=staff))
