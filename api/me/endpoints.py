"""`/v1/me`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import answer, returns
from api.auth.schemas import Account
from api.auth.service import account
from api.deps import Caller, PartsDep
from api.errors import problems
from chat.errors import Unauthenticated

router = APIRouter(tags=["me"])


@router.get(
    "/v1/me",
    summary="Who I am",
    responses={**returns(Account, "The signed-in user"), **problems(401)},
)
async def me(caller: Caller, parts: PartsDep) -> Response:
    """The user behind the access token."""
    user = await parts.stores.users.get(caller.id)
    if user is None:
        raise Unauthenticated("this sign-in has ended", code="signed_out")
    return answer(account(user))
