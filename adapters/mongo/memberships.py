"""Changes of several memberships at once, each one transaction; and the lists of one member. Collections: see `adapters.mongo.chats`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from pymongo import ASCENDING, InsertOne, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from adapters.mongo import invitations, notices
from adapters.mongo.chats import A_DEVICE, CHATS, MEMBERS, PRESENT, from_member, key_of, renewal, to_member
from adapters.mongo.client import NAIVE, Database, Document, fetch, translate, utc
from adapters.mongo.transactions import transact
from adapters.mongo.users import USERS
from chat.errors import Conflict, Unavailable
from chat.models import Member, Notice, Role
from chat.people import Place, naming

T = TypeVar("T")

_BY_CHAT = [("chat_id", ASCENDING)]

_MEETINGS = 5
"""Tries of those who come at the same moment as somebody brings them in."""


class MongoMemberships:
    """`MembershipStore` on `members`, and on the links and requests that bring people in."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._chats = db[CHATS]
        self._members = db[MEMBERS]
        self._users = db[USERS]
        self._links = db[invitations.INVITATIONS]
        self._requests = db[invitations.REQUESTS]
        self._notices = db[notices.COLLECTION]

    # -- coming -----------------------------------------------------------------------------------------------------

    @translate
    async def join(self, members: Sequence[Member], *, most: int, notice: Notice | None = None) -> list[str]:
        """See `MembershipStore.join`."""
        return await self._meeting_others(lambda session: self._join(members, most, notice, session))

    @translate
    async def accept(
        self, link: str, member: Member, *, now: datetime, most: int, notice: Notice | None = None
    ) -> bool:
        """See `MembershipStore.accept`."""

        async def work(session: AsyncClientSession) -> bool:
            joined = await self._join([member], most, notice, session)
            if joined:
                await invitations.use(self._links, link, now, session)
            return bool(joined)

        return await self._meeting_others(work)

    @translate
    async def approve(self, member: Member, *, most: int, notice: Notice | None = None) -> bool:
        """See `MembershipStore.approve`. Who has come in by another way meanwhile stays as they are."""

        async def work(session: AsyncClientSession) -> bool:
            key = invitations.request_key(member.chat, member.user)
            if not (await self._requests.delete_one({"_id": key}, session=session)).deleted_count:
                return False
            await self._join([member], most, notice, session)
            return True

        return await self._meeting_others(work)

    async def _meeting_others(self, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
        """A transaction that brings people in; again if somebody brought one of them in at the same moment: they are there then."""
        for _ in range(_MEETINGS):
            try:
                return await transact(self._db, work)
            except DuplicateKeyError:
                continue
        raise Unavailable("others change the members of this chat all the time")

    async def _join(
        self, members: Sequence[Member], most: int, notice: Notice | None, session: AsyncClientSession
    ) -> list[str]:
        keys = [key_of(member.chat, member.user) for member in members]
        cursor = self._members.find({"_id": {"$in": keys}}, {"left_at": 1}, session=session)
        rows = {row["_id"]: row async for row in cursor}
        new = [m for m, key in zip(members, keys, strict=True) if key not in rows or rows[key].get("left_at")]
        if not new:
            return []
        present = await self._members.count_documents({"chat_id": new[0].chat, **PRESENT}, session=session)
        if present + len(new) > most:
            raise Conflict(f"a chat has at most {most} members", code="too_many_members")
        changes: list[InsertOne[Document] | UpdateOne] = []
        for member in new:
            key = key_of(member.chat, member.user)
            changes.append(UpdateOne({"_id": key}, renewal(member)) if key in rows else InsertOne(from_member(member)))
        await self._members.bulk_write(changes, session=session)
        joined = [member.user for member in new]
        await self._note(naming(notice, *joined), session)
        return joined

    async def _note(self, notice: Notice | None, session: AsyncClientSession) -> None:
        """What the chat is to be told of the change that this transaction makes."""
        if notice is not None:
            await notices.put(self._notices, notice, session)

    # -- going ------------------------------------------------------------------------------------------------------

    @translate
    async def remove(self, chat: str, user: str, at: datetime, *, by: str, notice: Notice | None = None) -> bool:
        """See `MembershipStore.remove`: one write, with what is told of it a transaction."""
        return await self._mere_member_goes(chat, user, {"left_at": at, "removed_by": by}, notice)

    async def _mere_member_goes(self, chat: str, user: str, ended: Document, notice: Notice | None) -> bool:
        mere = {"_id": key_of(chat, user), "role": {"$ne": Role.OWNER.value}, **PRESENT}

        async def end(session: AsyncClientSession | None) -> bool:
            return bool((await self._members.update_one(mere, {"$set": ended}, session=session)).matched_count)

        return await notices.together(self._db, notice, end)

    @translate
    async def leave(
        self, chat: str, user: str, at: datetime, *, notice: Notice | None = None, inherits: Notice | None = None
    ) -> tuple[bool, str | None]:
        """See `MembershipStore.leave`. Both rows are written, so that an heir who leaves at the same moment is noticed."""
        if await self._mere_member_goes(chat, user, {"left_at": at}, notice):
            return True, None

        async def work(session: AsyncClientSession) -> tuple[bool, str | None]:
            mine = {"_id": key_of(chat, user), **PRESENT}
            row = await self._members.find_one_and_update(mine, {"$set": {"left_at": at}}, {"role": 1}, session=session)
            if row is None:
                return False, None
            await self._note(notice, session)
            if row["role"] != Role.OWNER.value:
                return True, None
            heir = await self._heir(chat, session)
            if heir is None:
                await self._close(chat, at, session)
                return True, None
            await self._members.update_one({"_id": key_of(chat, heir)}, _role(Role.OWNER), session=session)
            await self._note(naming(inherits, heir), session)
            return True, heir

        return await transact(self._db, work)

    async def _heir(self, chat: str, session: AsyncClientSession) -> str | None:
        """The oldest admin, else the oldest member.

        Raises:
            Conflict: `no_successor`.
        """
        for role in (Role.ADMIN, Role.MEMBER, Role.READER):
            people = {"chat_id": chat, "role": role.value, "user_id": {"$not": A_DEVICE}, **PRESENT}
            row = await self._members.find_one(people, {"user_id": 1}, sort=[("joined_at", ASCENDING)], session=session)
            if row is not None and role is Role.READER:
                raise Conflict("only readers would stay: make one of them the owner first", code="no_successor")
            if row is not None:
                return str(row["user_id"])
        return None

    async def _close(self, chat: str, at: datetime, session: AsyncClientSession) -> None:
        """Nobody is left: nobody comes any more. Who comes by a link at this moment writes to it too, and one of the two waits."""
        await self._links.update_many(
            {"chat_id": chat, "revoked_at": None}, {"$set": {"revoked_at": at}}, session=session
        )
        await self._requests.delete_many({"chat_id": chat}, session=session)

    @translate
    async def hand_over(self, chat: str, owner: str, heir: str, *, notices: Sequence[Notice] = ()) -> bool:
        """See `MembershipStore.hand_over`."""

        async def work(session: AsyncClientSession) -> bool:
            first = {"_id": key_of(chat, owner), "role": Role.OWNER.value, **PRESENT}
            second = {"_id": key_of(chat, heir), **PRESENT}
            if not (await self._members.update_one(first, _role(Role.ADMIN), session=session)).matched_count:
                return False
            if not (await self._members.update_one(second, _role(Role.OWNER), session=session)).matched_count:
                await session.abort_transaction()
                return False
            for notice in notices:
                await self._note(notice, session)
            return True

        return await transact(self._db, work)

    # -- the member's own -------------------------------------------------------------------------------------------

    @translate
    async def arrange(self, chat: str, user: str, changes: dict[str, datetime | None]) -> bool:
        """See `MembershipStore.arrange`."""
        some = {name: value for name, value in changes.items() if value is not None}
        none = {name: "" for name, value in changes.items() if value is None}
        change = {operator: names for operator, names in (("$set", some), ("$unset", none)) if names}
        mine = {"_id": key_of(chat, user), **PRESENT}
        if not change:
            return await self._members.find_one(mine, {"_id": 1}) is not None
        return bool((await self._members.update_one(mine, change)).matched_count)

    @translate
    async def set_hides_seen(self, user: str, *, hides: bool) -> list[str]:
        """See `MembershipStore.set_hides_seen`."""
        change = {"$set": {"hides_seen": hides}}

        async def work(session: AsyncClientSession) -> None:
            await self._users.update_one({"_id": user}, change, session=session)
            await self._members.update_many({"user_id": user}, change, session=session)

        await transact(self._db, work)
        rows = await fetch(self._members, {"user_id": user, **PRESENT}, {"_id": 0, "chat_id": 1}, sort=_BY_CHAT)
        return [row["chat_id"] for row in rows]

    @translate
    async def places(self, user: str) -> list[Place]:
        """See `MembershipStore.places`: two queries, of which only what orders a list is read."""
        order = {"_id": 0, "chat_id": 1, "pinned_at": 1, "archived_at": 1}
        mine = await fetch(self._members, {"user_id": user, **PRESENT}, order, sort=_BY_CHAT)
        ids = [row["chat_id"] for row in mine]
        chats = self._chats.with_options(codec_options=NAIVE)
        times = await fetch(chats, {"_id": {"$in": ids}}, {"last_at": 1, "created_at": 1}) if ids else []
        active = {row["_id"]: utc(row.get("last_at") or row["created_at"]) for row in times}
        return [
            Place(row["chat_id"], active[row["chat_id"]], row.get("pinned_at"), row.get("archived_at"))
            for row in mine
            if row["chat_id"] in active
        ]

    @translate
    async def of_user(self, user: str, chats: Sequence[str]) -> dict[str, Member]:
        """See `MembershipStore.of_user`."""
        if not chats:
            return {}
        query = {"_id": {"$in": [key_of(chat, user) for chat in chats]}, **PRESENT}
        return {row["chat_id"]: to_member(row) for row in await fetch(self._members, query)}

    @translate
    async def among(self, chat: str, users: Sequence[str]) -> dict[str, Member]:
        """See `MembershipStore.among`."""
        if not users:
            return {}
        query = {"_id": {"$in": [key_of(chat, user) for user in users]}, **PRESENT}
        return {row["user_id"]: to_member(row) for row in await fetch(self._members, query)}

    @translate
    async def pairs(self, chats: Sequence[str]) -> dict[str, list[str]]:
        """See `MembershipStore.pairs`: from the index alone."""
        found: dict[str, list[str]] = {}
        if chats:
            only = {"_id": 0, "chat_id": 1, "user_id": 1}
            for row in await fetch(self._members, {"chat_id": {"$in": list(chats)}}, only):
                found.setdefault(row["chat_id"], []).append(row["user_id"])
        return found

    @translate
    async def count(self, chat: str) -> int:
        """See `MembershipStore.count`."""
        return await self._members.count_documents({"chat_id": chat, **PRESENT})


def _role(role: Role) -> Document:
    return {"$set": {"role": role.value}}
