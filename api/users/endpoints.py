"""`/v1/users`."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.users.schemas import Profile
from chat.errors import NotFound
from chat.ids import is_principal

router = APIRouter(tags=["users"])


@router.get(
    "/v1/users/{user}",
    summary="A user's profile",
    responses={**returns(Profile, "The user"), **problems(401, 404)},
)
async def profile(user: str, _caller: Caller, parts: PartsDep) -> Response:
    """What everybody who is signed in may know. Code: `unknown_user` (also for disabled ones)."""
    found = await parts.stores.users.get(user) if is_principal(user) else None
    if found is None or found.disabled:
        raise NotFound("there is no such user", code="unknown_user")
    return answer(Profile(id=found.id, display_name=found.display_name))
