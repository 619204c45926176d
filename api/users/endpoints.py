"""`/v1/users`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.users.people import People
from api.users.schemas import Profile, ProfileList, UsersQuery
from chat.ids import is_principal

router = APIRouter(tags=["users"])


async def people(parts: PartsDep) -> People:
    """Who is who, on the stores of this process."""
    stores = parts.stores
    return People(stores.users, stores.devices, stores.contacts, stores.blocks)


PeopleDep = Annotated[People, Depends(people)]


@router.get(
    "/v1/users",
    summary="Profiles of several users",
    responses={**returns(ProfileList, "Those who are there, by id"), **problems(401)},
)
async def profiles(query: Annotated[UsersQuery, Query()], caller: Caller, people: PeopleDep) -> Response:
    """For the names on a page of members: up to 500 at once. Who is not there, or is disabled, is left out."""
    found = await people.profiles([id_ for id_ in query.id if is_principal(id_)], caller=caller.id)
    return answer(ProfileList([found[id_] for id_ in sorted(found)]))


@router.get(
    "/v1/users/{user}",
    summary="A user's profile",
    responses={**returns(Profile, "The user"), **problems(401, 404)},
)
async def profile(user: str, caller: Caller, people: PeopleDep) -> Response:
    """What they show to the caller: the name always, the rest as they wish. Code: `unknown_user` (also for disabled ones)."""
    await people.known(user)
    return answer((await people.profiles([user], caller=caller.id))[user])
