"""Collections `chats` and `members`.

`chats`: one document per chat.

| field | type | meaning |
|---|---|---|
| `_id` | string | chat id |
| `kind`, `title` | string, string? | `direct`, `group`, `channel` |
| `created_at`, `created_by` | date, string | when, and by whom |
| `retention_days`, `erased_seq` | int?, int? | for so long what is said is kept, absent: as everywhere; up to there it is erased (`adapters/mongo/upkeep.py`) |
| `last_seq`, `last_n`, `last_at` | int, int, date? | cache of the newest event; may be behind it |

Chats are found by id, through memberships. One index, partial, where `retention_days` exists: for the job that erases.

`members`: one document per (chat, user) that ever was.

| field | type | meaning |
|---|---|---|
| `_id` | string | `{chat_id}/{user_id}` (neither can hold a slash): many memberships are looked up by one `$in` |
| `chat_id`, `user_id`, `role` | string | roles: `owner`, `admin`, `member`, `reader` |
| `joined_at`, `joined_seq` | date, int | since when; the chat's newest `seq` then |
| `left_at` | date? | absent while the membership lasts |
| `delivered_seq`, `seen_seq`, `seen_n` | int | watermarks: written with `$max` only (P6) |
| `muted_until` | date? | |
| `hides_seen` | bool? | as `users.hides_seen`; absent: no |
| `pinned_at`, `archived_at` | date? | since when it stands at the top of this member's list, or is put away |
| `removed_by` | string? | who took them out; absent while the membership lasts, and when they went by themselves |
| `cleared_seq` | int? | what they have cleared for themselves: everything up to it |

| index | for |
|---|---|
| unique `(chat_id, user_id)` | the members of a chat, page by page |
| `(user_id, chat_id)` | the chats of a user |
| `(chat_id, role, joined_at)` | who inherits when an owner leaves |
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

import pymongo
from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from adapters.mongo.audience import MongoAudience
from adapters.mongo.client import (
    OPERATION_MS,
    Collection,
    Database,
    Document,
    fetch,
    repeatable_updates,
    translate,
    utc,
    utc_or_none,
)
from adapters.mongo.notices import Change, together
from chat.ids import DEVICE_PREFIX
from chat.models import Chat, ChatKind, Head, Member, Notice, Reach, Role, Watermarks

CHATS = "chats"
MEMBERS = "members"
MEMBER_INDEXES = [
    IndexModel([("chat_id", ASCENDING), ("user_id", ASCENDING)], unique=True),
    IndexModel([("user_id", ASCENDING), ("chat_id", ASCENDING)]),
    IndexModel([("chat_id", ASCENDING), ("role", ASCENDING), ("joined_at", ASCENDING)]),
]
OWN_FIELDS = ("muted_until", "pinned_at", "archived_at")
"""How a member has arranged a chat; who comes back begins without."""

PRESENT: Document = {"left_at": None}
A_DEVICE = re.compile(f"^{re.escape(DEVICE_PREFIX)}")

PAIRS_PER_QUERY = 50_000
"""Keeps a sweep's query far below the 16 MiB that a command may have; a broker holds fewer than that in one sweep."""


class MongoChats(MongoAudience):
    """`ChatStore` on the collections above."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._chats = db[CHATS]
        self._members = db[MEMBERS]
        super().__init__(self._members, self._chats)

    @translate
    async def create(self, chat: Chat, members: Sequence[Member]) -> bool:
        """See `ChatStore.create`: one transaction.

        Raises:
            ValueError: two of the members are the same user.
        """
        if await self._chats.find_one({"_id": chat.id}, {"_id": 1}) is not None:
            return False
        if len({member.user for member in members}) != len(members):
            raise ValueError(f"the members of chat {chat.id} name one user twice")

        async def both(session: AsyncClientSession) -> None:
            await self._chats.insert_one(_from_chat(chat), session=session)
            if members:
                await self._members.insert_many([from_member(member) for member in members], session=session)

        try:
            # Without this bound the driver would repeat a transaction that meets conflicts for two minutes.
            with pymongo.timeout(OPERATION_MS / 1000):
                async with self._chats.database.client.start_session() as session:
                    await session.with_transaction(both)
        except DuplicateKeyError:
            return False
        return True

    @translate
    async def get(self, chat: str) -> Chat | None:
        """See `ChatStore.get`."""
        document = await self._chats.find_one({"_id": chat})
        return None if document is None else to_chat(document)

    @translate
    async def get_many(self, chats: Sequence[str]) -> dict[str, Chat]:
        """See `ChatStore.get_many`."""
        if not chats:
            return {}
        return {row["_id"]: to_chat(row) for row in await fetch(self._chats, {"_id": {"$in": list(chats)}})}

    @translate
    async def touch(self, heads: Mapping[str, tuple[Head, datetime]]) -> None:
        """See `ChatStore.touch`."""
        changes = {
            chat: {"$max": {"last_seq": head.seq, "last_n": head.n, "last_at": at}}
            for chat, (head, at) in heads.items()
        }
        await repeatable_updates(self._chats, [([chat], change) for chat, change in changes.items()])

    @translate
    async def rename(self, chat: str, title: str | None, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.rename`."""
        change = {"$unset": {"title": ""}} if title is None else {"$set": {"title": title}}
        return await together(self._db, notice, _update(self._chats, {"_id": chat}, change))

    @translate
    async def set_role(self, chat: str, user: str, role: Role, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.set_role`."""
        mere = {"_id": key_of(chat, user), "role": {"$ne": Role.OWNER.value}, **PRESENT}
        return await together(self._db, notice, _update(self._members, mere, {"$set": {"role": role.value}}))

    @translate
    async def member(self, chat: str, user: str) -> Member | None:
        """See `ChatStore.member`."""
        document = await self._members.find_one({"_id": key_of(chat, user)})
        return None if document is None else to_member(document)

    @translate
    async def members(self, chat: str, *, after: str = "", limit: int | None = None) -> list[Member]:
        """See `ChatStore.members`."""
        query = {"chat_id": chat, "user_id": {"$gt": after}, **PRESENT}
        documents = await fetch(self._members, query, sort=[("user_id", ASCENDING)], limit=limit)
        return [to_member(document) for document in documents]

    @translate
    async def members_by_chat(self, chats: Sequence[str]) -> dict[str, list[Member]]:
        """See `ChatStore.members_by_chat`."""
        found: defaultdict[str, list[Member]] = defaultdict(list)
        if chats:
            order = [("chat_id", ASCENDING), ("user_id", ASCENDING)]
            for document in await fetch(self._members, {"chat_id": {"$in": list(chats)}, **PRESENT}, sort=order):
                found[document["chat_id"]].append(to_member(document))
        return dict(found)

    @translate
    async def memberships(self, user: str) -> list[Member]:
        """See `ChatStore.memberships`; by chat id."""
        documents = await fetch(self._members, {"user_id": user, **PRESENT}, sort=[("chat_id", ASCENDING)])
        return [to_member(document) for document in documents]

    @translate
    async def memberships_among(self, pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """See `ChatStore.memberships_among`."""
        found: set[tuple[str, str]] = set()
        for start in range(0, len(pairs), PAIRS_PER_QUERY):
            keys = [key_of(chat, user) for chat, user in pairs[start : start + PAIRS_PER_QUERY]]
            query = {"_id": {"$in": keys}, **PRESENT}
            documents = await fetch(self._members, query, {"_id": 0, "chat_id": 1, "user_id": 1})
            found.update((document["chat_id"], document["user_id"]) for document in documents)
        return found

    @translate
    async def share_chat(self, one: str, other: str) -> bool:
        """See `ChatStore.share_chat`."""
        mine = await fetch(self._members, {"user_id": one, **PRESENT}, {"_id": 0, "chat_id": 1})
        theirs = [key_of(document["chat_id"], other) for document in mine]
        return (
            bool(theirs) and await self._members.find_one({"_id": {"$in": theirs}, **PRESENT}, {"_id": 1}) is not None
        )

    @translate
    async def add_member(self, member: Member, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.add_member`."""
        document = from_member(member)
        document.pop("left_at", None)
        gone = {"_id": document["_id"], "left_at": {"$ne": None}}
        bring_back = _update(self._members, gone, renewal(member))

        async def add(session: AsyncClientSession | None) -> bool:
            if not await bring_back(session):
                await self._members.insert_one(document, session=session)
            return True

        try:
            return await together(self._db, notice, add)
        except DuplicateKeyError:
            return False

    @translate
    async def remove_member(self, chat: str, user: str, at: datetime, *, notice: Notice | None = None) -> bool:
        """See `ChatStore.remove_member`."""
        present = {"_id": key_of(chat, user), **PRESENT}
        return await together(self._db, notice, _update(self._members, present, {"$set": {"left_at": at}}))

    @translate
    async def set_hides_seen(self, user: str, *, hides: bool) -> list[str]:
        """See `ChatStore.set_hides_seen`."""
        await self._members.update_many({"user_id": user}, {"$set": {"hides_seen": hides}})
        present = {"user_id": user, **PRESENT}
        mine = await fetch(self._members, present, {"_id": 0, "chat_id": 1}, sort=[("chat_id", ASCENDING)])
        return [document["chat_id"] for document in mine]

    @translate
    async def reached(self, chat: str, seq: int) -> Reach:
        """See `ChatStore.reached`: one pass over the members of the chat, counted by the database."""
        has = {"$gte": [{"$max": ["$delivered_seq", "$seen_seq"]}, seq]}
        shows = {"$and": [{"$gte": ["$seen_seq", seq]}, {"$ne": ["$hides_seen", True]}]}
        # Who joined at a `seq` does not count for what came before: as good as if they had it.
        has_to = {"$max": ["$delivered_seq", "$seen_seq", "$joined_seq"]}
        cursor = await self._members.aggregate(
            [
                {"$match": {"chat_id": chat, "user_id": {"$not": A_DEVICE}, "joined_seq": {"$lt": seq}, **PRESENT}},
                {
                    "$group": {
                        "_id": None,
                        "delivered": {"$sum": {"$cond": [has, 1, 0]}},
                        "seen": {"$sum": {"$cond": [shows, 1, 0]}},
                        "all_delivered": {"$min": has_to},
                        "all_seen": {"$min": {"$max": ["$seen_seq", "$joined_seq"]}},
                    }
                },
            ]
        )
        found = await cursor.to_list()
        if not found:
            return Reach()
        return Reach(
            delivered=int(found[0]["delivered"]),
            seen=int(found[0]["seen"]),
            all_delivered=min(seq, int(found[0]["all_delivered"])),
            all_seen=min(seq, int(found[0]["all_seen"])),
        )

    @translate
    async def scan(self, *, after: tuple[str, str] = ("", ""), limit: int) -> list[Member]:
        """See `ChatStore.scan`."""
        chat, user = after
        query = {"$or": [{"chat_id": chat, "user_id": {"$gt": user}}, {"chat_id": {"$gt": chat}}]}
        order = [("chat_id", ASCENDING), ("user_id", ASCENDING)]
        return [to_member(document) for document in await fetch(self._members, query, sort=order, limit=limit)]

    @translate
    async def correct(self, was: Member, now: Member) -> bool:
        """See `ChatStore.correct`: one conditional update."""
        query: Document = {"_id": key_of(was.chat, was.user), **_watermarks_of(was)}
        query["hides_seen"] = True if was.hides_seen else {"$ne": True}
        change = {"$set": {**_watermarks_of(now), "hides_seen": now.hides_seen}}
        return bool((await self._members.update_one(query, change)).matched_count)

    @translate
    async def raise_watermarks(self, moves: Sequence[Watermarks]) -> None:
        """See `ChatStore.raise_watermarks`: one command, in which members of a chat who come to the same place are one statement.

        What was seen was delivered, whatever the move says (P6).
        """
        alike: defaultdict[tuple[str, int, int, int], list[str]] = defaultdict(list)
        for move in moves:
            delivered = max(move.delivered_seq, move.seen_seq)
            alike[move.chat, delivered, move.seen_seq, move.seen_n].append(key_of(move.chat, move.user))
        changes = []
        for (_, delivered, seen, n), keys in alike.items():
            change = {"delivered_seq": delivered}
            if seen:
                change |= {"seen_seq": seen, "seen_n": n}
            changes.append((keys, {"$max": change}))
        await repeatable_updates(self._members, changes)


def _update(collection: Collection, query: Document, change: Document) -> Change:
    async def update(session: AsyncClientSession | None) -> bool:
        return bool((await collection.update_one(query, change, session=session)).matched_count)

    return update


def key_of(chat: str, user: str) -> str:
    """The `_id` of a membership."""
    return f"{chat}/{user}"


def renewal(member: Member) -> Document:
    """The update that brings back one who left: everything anew but the watermarks."""
    document = from_member(member)
    renewed: Document = {name: document[name] for name in ("role", "joined_at", "joined_seq")}
    renewed["hides_seen"] = member.hides_seen
    renewed |= {name: document[name] for name in OWN_FIELDS if name in document}
    absent = {"left_at", "removed_by", *OWN_FIELDS} - set(renewed)
    return {"$set": renewed, "$unset": dict.fromkeys(sorted(absent), "")}


def _watermarks_of(member: Member) -> Document:
    return {"delivered_seq": member.delivered_seq, "seen_seq": member.seen_seq, "seen_n": member.seen_n}


def _from_chat(chat: Chat) -> Document:
    document: Document = {
        "_id": chat.id,
        "kind": chat.kind.value,
        "created_at": chat.created_at,
        "created_by": chat.created_by,
        "last_seq": chat.last_seq,
        "last_n": chat.last_n,
    }
    if chat.title is not None:
        document["title"] = chat.title
    if chat.last_at is not None:
        document["last_at"] = chat.last_at
    return document


def to_chat(document: Document) -> Chat:
    """A document of `chats` as a record."""
    return Chat(
        id=document["_id"],
        kind=ChatKind(document["kind"]),
        created_at=document["created_at"],
        created_by=document["created_by"],
        title=document.get("title"),
        last_seq=int(document["last_seq"]),
        last_n=int(document["last_n"]),
        last_at=document.get("last_at"),
        retention_days=document.get("retention_days"),
    )


def from_member(member: Member) -> Document:
    """The document of a membership."""
    document: Document = {
        "_id": key_of(member.chat, member.user),
        "chat_id": member.chat,
        "user_id": member.user,
        "role": member.role.value,
        "joined_at": member.joined_at,
        "joined_seq": member.joined_seq,
        "delivered_seq": member.delivered_seq,
        "seen_seq": member.seen_seq,
        "seen_n": member.seen_n,
    }
    if member.left_at is not None:
        document["left_at"] = member.left_at
    if member.muted_until is not None:
        document["muted_until"] = member.muted_until
    if member.hides_seen:
        document["hides_seen"] = True
    for name in ("pinned_at", "archived_at", "removed_by"):
        if (value := getattr(member, name)) is not None:
            document[name] = value
    if member.cleared_seq:
        document["cleared_seq"] = member.cleared_seq
    return document


def to_member(document: Document) -> Member:
    """The membership of a document."""
    return Member(
        chat=document["chat_id"],
        user=document["user_id"],
        role=Role(document["role"]),
        joined_at=utc(document["joined_at"]),
        joined_seq=int(document["joined_seq"]),
        left_at=utc_or_none(document.get("left_at")),
        delivered_seq=int(document["delivered_seq"]),
        seen_seq=int(document["seen_seq"]),
        seen_n=int(document["seen_n"]),
        muted_until=utc_or_none(document.get("muted_until")),
        hides_seen=document.get("hides_seen", False),
        pinned_at=utc_or_none(document.get("pinned_at")),
        archived_at=utc_or_none(document.get("archived_at")),
        removed_by=document.get("removed_by"),
        cleared_seq=int(document.get("cleared_seq", 0)),
    )
