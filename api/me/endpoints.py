"""`/v1/me`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import answer, returns
from api.auth.schemas import Account
from api.deps import Caller, PartsDep
from api.errors import problems
from api.me.schemas import Wishes
from api.me.service import MeService
from api.members.announce import Announcer

router = APIRouter(tags=["me"])


async def _service(parts: PartsDep) -> MeService:
    announcer = Announcer(parts.invalidations, parts.link, parts.stores.notices)
    return MeService(parts.stores.users, parts.stores.memberships, announcer)


Service = Annotated[MeService, Depends(_service)]


@router.get(
    "/v1/me",
    summary="Who I am",
    responses={**returns(Account, "The signed-in user"), **problems(401)},
)
async def me(caller: Caller, service: Service) -> Response:
    """The user behind the access token."""
    return answer(await service.account(caller.id))


@router.patch(
    "/v1/me",
    summary="Change what I show",
    responses={**returns(Account, "The signed-in user"), **problems(401, 422)},
)
async def change(wishes: Wishes, caller: Caller, service: Service) -> Response:
    """What is left out stays. Holds for all chats, at once; what others were told before stays with them."""
    return answer(await service.change(wishes, caller=caller.id))
