"""`/v1/contacts`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer, returns
from api.contacts.schemas import ContactPage, ContactView, PeopleQuery, Wish
from api.contacts.service import ContactService
from api.deps import Caller, PartsDep
from api.errors import problems
from api.users.endpoints import PeopleDep

router = APIRouter(tags=["contacts"])


async def _service(parts: PartsDep, people: PeopleDep) -> ContactService:
    return ContactService(parts.stores.contacts, people, parts.settings.api_max_contacts)


Service = Annotated[ContactService, Depends(_service)]


@router.get(
    "/v1/contacts",
    summary="Whom I know",
    responses={**returns(ContactPage, "Contacts by id"), **problems(401)},
)
async def contacts(query: Annotated[PeopleQuery, Query()], caller: Caller, service: Service) -> Response:
    """With what they show to me of themselves. Nobody is told that they are in my list."""
    return answer(await service.page(query, caller=caller.id))


@router.put(
    "/v1/contacts/{user}",
    status_code=201,
    summary="Add a contact, or give one another name",
    responses={
        **returns(ContactView, "Added", status=201),
        **returns(ContactView, "Was a contact already; has this name now"),
        **problems(401, 404, 409, 422),
    },
)
async def put(user: str, wish: Wish, caller: Caller, service: Service) -> Response:
    """Who is my contact may reach me and see my profile, where I let only contacts. Codes: `unknown_user`, `yourself`, `too_many_contacts`."""
    view, new = await service.put(user, wish.name, caller=caller.id)
    return answer(view, status=201 if new else 200)


@router.delete(
    "/v1/contacts/{user}",
    status_code=204,
    summary="Forget a contact",
    responses={204: {"description": "They are no contact of mine"}, **problems(401)},
)
async def drop(user: str, caller: Caller, service: Service) -> Response:
    """Who was none stays none."""
    await service.drop(user, caller=caller.id)
    return Response(status_code=204)
