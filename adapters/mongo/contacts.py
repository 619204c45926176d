"""Collection `contacts`: who knows whom, one document per pair.

`_id` string, `{owner_id}/{user_id}` (neither can hold a slash) · `owner_id`, `user_id` string · `added_at` date · `name` string?, what the
owner calls them.

| index | for |
|---|---|
| `(owner_id, user_id)` | the contacts of a user, page by page |
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Database, Document, fetch, translate
from chat.people import Contact
from chat.people_stores import Pair

COLLECTION = "contacts"
INDEXES = [IndexModel([("owner_id", ASCENDING), ("user_id", ASCENDING)])]


class MongoContacts:
    """`ContactStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._contacts = db[COLLECTION]

    @translate
    async def put(self, contact: Contact) -> tuple[Contact, bool]:
        """See `ContactStore.put`."""
        key = _key(contact.owner, contact.user)
        first: Document = {"owner_id": contact.owner, "user_id": contact.user, "added_at": contact.added_at}
        named: Document = {"$unset": {"name": ""}} if contact.name is None else {"$set": {"name": contact.name}}
        known = await self._contacts.find_one_and_update({"_id": key}, {"$setOnInsert": first, **named}, upsert=True)
        if known is None:
            return contact, True
        return _to_contact({**known, "name": contact.name}), False

    @translate
    async def drop(self, owner: str, user: str) -> bool:
        """See `ContactStore.drop`."""
        return bool((await self._contacts.delete_one({"_id": _key(owner, user)})).deleted_count)

    @translate
    async def page(self, owner: str, *, after: str = "", limit: int) -> list[Contact]:
        """See `ContactStore.page`."""
        query = {"owner_id": owner, "user_id": {"$gt": after}}
        rows = await fetch(self._contacts, query, sort=[("user_id", ASCENDING)], limit=limit)
        return [_to_contact(row) for row in rows]

    @translate
    async def count(self, owner: str) -> int:
        """See `ContactStore.count`."""
        return await self._contacts.count_documents({"owner_id": owner})

    @translate
    async def among(self, pairs: Sequence[Pair]) -> set[Pair]:
        """See `ContactStore.among`."""
        if not pairs:
            return set()
        query = {"_id": {"$in": [_key(*pair) for pair in pairs]}}
        rows = await fetch(self._contacts, query, {"_id": 0, "owner_id": 1, "user_id": 1})
        return {(row["owner_id"], row["user_id"]) for row in rows}


def _key(owner: str, user: str) -> str:
    return f"{owner}/{user}"


def _to_contact(document: Document) -> Contact:
    return Contact(document["owner_id"], document["user_id"], document["added_at"], document.get("name"))
