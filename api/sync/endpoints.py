"""`/v1/sync`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.sync.schemas import SyncAnswer, SyncQuery
from api.sync.service import SyncService

router = APIRouter(tags=["sync"])


async def _service(parts: PartsDep) -> SyncService:
    return SyncService(chats=parts.stores.chats, messages=parts.stores.messages)


@router.get(
    "/v1/sync",
    summary="Catch up",
    responses={**returns(SyncAnswer, "A page or a reset per cursor"), **problems(401)},
)
async def catch_up(
    query: Annotated[SyncQuery, Query()], caller: Caller, service: Annotated[SyncService, Depends(_service)]
) -> Response:
    """Ask again with `next` while `limited` is true. A `reset` (`unknown_chat`, `ahead`, `too_old`) means: read the chat anew. Code: `invalid_cursor`."""
    return answer(await service.catch_up(query.cursor, query.limit, caller=caller))
