"""Contacts: whom a user knows. It is the user's own list; nobody is told that they are in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from api.clock import now
from api.contacts.schemas import ContactPage, ContactView, PeopleQuery
from api.users.people import People
from chat.errors import BadInput, Conflict
from chat.ids import is_principal
from chat.people import Contact
from chat.people_stores import ContactStore


@dataclass(frozen=True, slots=True)
class ContactService:
    """The decisions of `/v1/contacts`. Every change is one write of one document.

    Attributes:
        most: contacts of one user. Of several who are added at the same moment a few more may pass.
    """

    contacts: ContactStore
    people: People
    most: int

    async def page(self, query: PeopleQuery, *, caller: str) -> ContactPage:
        """The caller's contacts by id."""
        found = await self.contacts.page(caller, after=query.after, limit=query.limit + 1)
        shown = found[: query.limit]
        return ContactPage(await self._views(shown, caller), shown[-1].user if len(found) > query.limit else None)

    async def put(self, user: str, name: str | None, *, caller: str) -> tuple[ContactView, bool]:
        """Add a contact, or give one another name.

        Returns:
            the contact, and whether it is new.

        Raises:
            NotFound: `unknown_user`.
            BadInput: `yourself`.
            Conflict: `too_many_contacts`.
        """
        if user == caller:
            raise BadInput("that is you", code="yourself")
        await self.people.known(user)
        if await self.contacts.count(caller) >= self.most and not await self.contacts.among([(caller, user)]):
            raise Conflict(f"a user has at most {self.most} contacts", code="too_many_contacts")
        contact, new = await self.contacts.put(Contact(caller, user, now(), name))
        (view,) = await self._views([contact], caller)
        return view, new

    async def drop(self, user: str, *, caller: str) -> None:
        """Forget a contact; one that is none stays none."""
        if is_principal(user):
            await self.contacts.drop(caller, user)

    async def _views(self, rows: Sequence[Contact], caller: str) -> list[ContactView]:
        profiles = await self.people.profiles([row.user for row in rows], caller=caller)
        return [ContactView(row.user, row.name, row.added_at, profiles.get(row.user)) for row in rows]
