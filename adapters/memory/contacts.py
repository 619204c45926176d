"""`ContactStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
from chat.people import Contact
from chat.people_stores import Pair


class MemoryContacts:
    """Contacts by (owner, user)."""

    def __init__(self) -> None:
        self._contacts: dict[Pair, Contact] = {}

    async def put(self, contact: Contact) -> tuple[Contact, bool]:
        """See `ContactStore.put`."""
        new = (contact.owner, contact.user) not in self._contacts
        known = self._contacts.setdefault((contact.owner, contact.user), copied(contact))
        known.name = contact.name
        return copied(known), new

    async def drop(self, owner: str, user: str) -> bool:
        """See `ContactStore.drop`."""
        return self._contacts.pop((owner, user), None) is not None

    async def page(self, owner: str, *, after: str = "", limit: int) -> list[Contact]:
        """See `ContactStore.page`."""
        rows = [row for (whose, user), row in sorted(self._contacts.items()) if whose == owner and user > after]
        return [copied(row) for row in rows[: max(0, limit)]]

    async def count(self, owner: str) -> int:
        """See `ContactStore.count`."""
        return sum(whose == owner for whose, _ in self._contacts)

    async def among(self, pairs: Sequence[Pair]) -> set[Pair]:
        """See `ContactStore.among`."""
        return {pair for pair in pairs if pair in self._contacts}
