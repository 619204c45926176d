"""`AdminStore` on the collections `users`, `devices`, `chats` and `members`, which have their owners elsewhere.

Its own fields of `users`: `moderator` bool? · `shadowed` bool? · `block` {`kind`, `at`, `by`, `reason`, `until`?}? · `blocked_until` date?,
`block.until` or the end of time: who is kept out is found by one comparison, and a block ends by itself.

| index on `users` | for |
|---|---|
| `shadowed`, partial: where it is true | everybody who is shadow-banned |

Lists for administrators are read in the order of `_id`, and filtered on the way: whoever looks for a rare piece of a name waits for a scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo import ASCENDING, IndexModel

from adapters.mongo.chats import CHATS, MEMBERS, to_chat
from adapters.mongo.client import Database, Document, fetch, translate
from adapters.mongo.users import DEVICES, USERS, kept_out
from adapters.searching import beginning, holding
from chat.admin import (
    Account,
    AccountSearch,
    AccountState,
    ChatSearch,
    DeviceRow,
    DeviceSearch,
    Exclusion,
    ExclusionKind,
)
from chat.models import Chat

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""The end of a block that has none."""

USER_INDEXES = [IndexModel([("shadowed", ASCENDING)], partialFilterExpression={"shadowed": True})]

_ORDER = [("_id", ASCENDING)]


class MongoAdmin:
    """`AdminStore` on the collections above."""

    def __init__(self, db: Database) -> None:
        self._users = db[USERS]
        self._devices = db[DEVICES]
        self._chats = db[CHATS]
        self._members = db[MEMBERS]

    @translate
    async def account(self, user: str) -> Account | None:
        """See `AdminStore.account`."""
        document = await self._users.find_one({"_id": user})
        return None if document is None else _to_account(document)

    @translate
    async def accounts(self, search: AccountSearch, *, after: str = "", limit: int) -> list[Account]:
        """See `AdminStore.accounts`."""
        wanted: list[Document] = [{"_id": {"$gt": after}}]
        if search.text is not None:
            wanted.append(_named("display_name", search.text))
        if search.state is not None:
            wanted.append(_in_state(search.state))
        if search.staff is not None:
            staff: list[Document] = [{"admin": True}, {"moderator": True}]
            wanted.append({"$or" if search.staff else "$nor": staff})
        if search.shadowed is not None:
            wanted.append({"shadowed": True if search.shadowed else {"$ne": True}})
        found = await fetch(self._users, {"$and": wanted}, sort=_ORDER, limit=limit)
        return [_to_account(document) for document in found]

    @translate
    async def population(self) -> int:
        """See `AdminStore.population`: from the collection's own count."""
        return await self._users.estimated_document_count()

    @translate
    async def block(self, user: str, block: Exclusion | None) -> bool:
        """See `AdminStore.block`."""
        change: Document
        if block is None:
            change = {"$unset": {"block": "", "blocked_until": ""}}
        else:
            row: Document = {"kind": block.kind.value, "at": block.at, "by": block.by, "reason": block.reason}
            if block.until is not None:
                row["until"] = block.until
            change = {"$set": {"block": row, "blocked_until": block.until or NEVER}}
        return bool((await self._users.update_one({"_id": user}, change)).matched_count)

    @translate
    async def kept_out(self, ids: Sequence[str]) -> set[str]:
        """See `AdminStore.kept_out`."""
        return await kept_out(self._users, ids)

    @translate
    async def set_shadowed(self, user: str, *, shadowed: bool) -> bool:
        """See `AdminStore.set_shadowed`."""
        change: Document = {"$set": {"shadowed": True}} if shadowed else {"$unset": {"shadowed": ""}}
        return bool((await self._users.update_one({"_id": user}, change)).matched_count)

    @translate
    async def shadowed(self) -> set[str]:
        """See `AdminStore.shadowed`."""
        return {document["_id"] for document in await fetch(self._users, {"shadowed": True}, {"_id": 1})}

    @translate
    async def set_rank(self, user: str, *, admin: bool, moderator: bool) -> bool:
        """See `AdminStore.set_rank`."""
        change = {"$set": {"admin": admin, "moderator": moderator}}
        return bool((await self._users.update_one({"_id": user}, change)).matched_count)

    @translate
    async def chats(self, search: ChatSearch, *, after: str = "", limit: int) -> list[Chat]:
        """See `AdminStore.chats`."""
        wanted: list[Document] = [{"_id": {"$gt": after}}]
        if search.text is not None:
            wanted.append(_named("title", search.text))
        if search.kind is not None:
            wanted.append({"kind": search.kind.value})
        if search.member is not None:
            query = {"user_id": search.member, "chat_id": {"$gt": after}, "left_at": None}
            mine = await fetch(self._members, query, {"_id": 0, "chat_id": 1})
            wanted.append({"_id": {"$in": [document["chat_id"] for document in mine]}})
        found = await fetch(self._chats, {"$and": wanted}, sort=_ORDER, limit=limit)
        return [to_chat(document) for document in found]

    @translate
    async def members(self, chat: str) -> int:
        """See `AdminStore.members`."""
        return await self._members.count_documents({"chat_id": chat, "left_at": None})

    @translate
    async def devices(self, search: DeviceSearch, *, after: str = "", limit: int) -> list[DeviceRow]:
        """See `AdminStore.devices`."""
        wanted: list[Document] = [{"_id": {"$gt": after}}]
        if search.text is not None:
            wanted.append(_named("name", search.text))
        if search.owner is not None:
            wanted.append({"owner_id": search.owner})
        found = await fetch(self._devices, {"$and": wanted}, sort=_ORDER, limit=limit)
        out = await kept_out(self._users, [document["owner_id"] for document in found])
        return [
            DeviceRow(
                id=document["_id"],
                owner=document["owner_id"],
                name=document["name"],
                created_at=document["created_at"],
                disabled=document["disabled"] or document["owner_id"] in out,
            )
            for document in found
        ]


def _named(field: str, text: str) -> Document:
    return {"$or": [{"_id": {"$regex": beginning(text)}}, {field: {"$regex": holding(text), "$options": "i"}}]}


def _in_state(state: AccountState) -> Document:
    if state is AccountState.DISABLED:
        return {"disabled": True}
    now = datetime.now(UTC)
    if state is AccountState.ACTIVE:
        return {"disabled": False, "blocked_until": {"$not": {"$gt": now}}}
    return {"disabled": False, "blocked_until": {"$gt": now}, "block.kind": state.value}


def _to_account(document: Document) -> Account:
    row = document.get("block")
    block = row and Exclusion(ExclusionKind(row["kind"]), row["at"], row["by"], row["reason"], row.get("until"))
    return Account(
        id=document["_id"],
        display_name=document["display_name"],
        created_at=document["created_at"],
        admin=document["admin"],
        moderator=document.get("moderator", False),
        disabled=document["disabled"],
        block=block,
        shadowed=document.get("shadowed", False),
    )
