"""`/v1/blocks`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer, returns
from api.blocks.schemas import BlockPage
from api.blocks.service import BlockService
from api.contacts.schemas import PeopleQuery
from api.deps import Caller, PartsDep
from api.errors import problems
from api.members.announce import Announcer
from api.users.endpoints import PeopleDep

router = APIRouter(tags=["blocks"])


async def _service(parts: PartsDep, people: PeopleDep) -> BlockService:
    announcer = Announcer(parts.invalidations, parts.link, parts.stores.notices)
    return BlockService(parts.stores.blocks, people, announcer, parts.settings.api_max_blocks)


Service = Annotated[BlockService, Depends(_service)]


@router.get(
    "/v1/blocks",
    summary="Whom I have blocked",
    responses={**returns(BlockPage, "By id"), **problems(401)},
)
async def blocks(query: Annotated[PeopleQuery, Query()], caller: Caller, service: Service) -> Response:
    """Nobody else is told."""
    return answer(await service.page(query, caller=caller.id))


@router.put(
    "/v1/blocks/{user}",
    status_code=204,
    summary="Block somebody",
    responses={204: {"description": "They are blocked"}, **problems(401, 404, 409, 422)},
)
async def put(user: str, caller: Caller, service: Service) -> Response:
    """From now on nothing comes into our direct chat, they open none with me, bring me into no group and see no more of me than my name.

    Codes: `unknown_user`, `yourself`, `too_many_blocks`.
    """
    await service.put(user, caller=caller.id)
    return Response(status_code=204)


@router.delete(
    "/v1/blocks/{user}",
    status_code=204,
    summary="Unblock somebody",
    responses={204: {"description": "They are not blocked"}, **problems(401)},
)
async def drop(user: str, caller: Caller, service: Service) -> Response:
    """Who was not blocked stays so."""
    await service.drop(user, caller=caller.id)
    return Response(status_code=204)
