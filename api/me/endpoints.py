"""`/v1/me`."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from api.answers import answer, returns
from api.auth.schemas import Account
from api.auth.service import account
from api.deps import Caller, Parts, PartsDep
from api.errors import problems
from api.members.announce import Announcer
from chat.errors import Unauthenticated
from chat.models import Principal

router = APIRouter(tags=["me"])


class Wishes(BaseModel):
    """`PATCH /v1/me`."""

    model_config = ConfigDict(extra="forbid")

    hides_seen: bool = Field(strict=True, description="neither show to others what I have seen, nor see it of them")


@router.get(
    "/v1/me",
    summary="Who I am",
    responses={**returns(Account, "The signed-in user"), **problems(401)},
)
async def me(caller: Caller, parts: PartsDep) -> Response:
    """The user behind the access token."""
    return await _account(caller, parts)


@router.patch(
    "/v1/me",
    summary="Change what I show",
    responses={**returns(Account, "The signed-in user"), **problems(401)},
)
async def change(wishes: Wishes, caller: Caller, parts: PartsDep) -> Response:
    """Holds for all chats, at once. What others were told before stays with them."""
    await parts.stores.users.set_hides_seen(caller.id, hides=wishes.hides_seen)
    announcer = Announcer(parts.invalidations, parts.link, parts.stores.notices)
    for chat in await parts.stores.chats.set_hides_seen(caller.id, hides=wishes.hides_seen):
        await announcer.changed(chat, [caller.id])
    return await _account(caller, parts)


async def _account(caller: Principal, parts: Parts) -> Response:
    user = await parts.stores.users.get(caller.id)
    if user is None:
        raise Unauthenticated("this sign-in has ended", code="signed_out")
    return answer(account(user))
