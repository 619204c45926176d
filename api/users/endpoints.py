"""`/v1/users`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.users.people import People
from api.users.schemas import Profile

router = APIRouter(tags=["users"])


def people(parts: PartsDep) -> People:
    """Who is who, on the stores of this process."""
    stores = parts.stores
    return People(stores.users, stores.devices, stores.contacts, stores.blocks)


PeopleDep = Annotated[People, Depends(people)]


@router.get(
    "/v1/users/{user}",
    summary="A user's profile",
    responses={**returns(Profile, "The user"), **problems(401, 404)},
)
async def profile(user: str, caller: Caller, people: PeopleDep) -> Response:
    """What they show to the caller: the name always, the rest as they wish. Code: `unknown_user` (also for disabled ones)."""
    await people.known(user)
    return answer((await people.profiles([user], caller=caller.id))[user])
