"""Collection `notices`: system events that chats have not been told yet. Nearly always empty.

`_id` string, `{chat_id}/{id of the event}` (a chat id holds no slash, and event ids rise with time, so the index on `_id` has a chat's notices
in their order) · `system` object: `what`, `by`, `users`, `title`?, `role`? · `at` date, of the last change that it tells of · `open` bool?:
the request that makes it may still add users. No index but `_id`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pymongo
from pymongo import ASCENDING
from pymongo.asynchronous.client_session import AsyncClientSession

from adapters.mongo.client import OPERATION_MS, Collection, Database, Document, fetch, translate
from chat.envelopes import System
from chat.models import Notice

COLLECTION = "notices"

Change = Callable[[AsyncClientSession | None], Awaitable[bool]]
"""A write that says whether it changed something; within a transaction when it is given a session."""


class MongoNotices:
    """`NoticeStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._notices = db[COLLECTION]

    @translate
    async def add(self, notice: Notice) -> None:
        """See `NoticeStore.add`."""
        await put(self._notices, notice)

    @translate
    async def of_chat(self, chat: str, limit: int) -> list[Notice]:
        """See `NoticeStore.of_chat`."""
        query = {"_id": {"$gt": f"{chat}/", "$lt": f"{chat}0"}}  # 0 comes behind the slash
        return _found(await fetch(self._notices, query, sort=[("_id", ASCENDING)], limit=limit))

    @translate
    async def after(self, key: tuple[str, str], limit: int) -> list[Notice]:
        """See `NoticeStore.after`."""
        query = {"_id": {"$gt": "/".join(key)}}
        return _found(await fetch(self._notices, query, sort=[("_id", ASCENDING)], limit=limit))

    @translate
    async def drop(self, notice: Notice) -> None:
        """See `NoticeStore.drop`."""
        await self._notices.delete_one({"_id": _key(notice)})


async def together(db: Database, notice: Notice | None, change: Change) -> bool:
    """Make a change and note what is to be told of it, both or neither; what changes nothing is not told."""
    if notice is None:
        return await change(None)

    async def both(session: AsyncClientSession) -> bool:
        changed = await change(session)
        if changed:
            await put(db[COLLECTION], notice, session)
        return changed

    # Without this bound the driver would repeat a transaction that meets conflicts for two minutes.
    with pymongo.timeout(OPERATION_MS / 1000):
        async with db.client.start_session() as session:
            return await session.with_transaction(both)


async def put(notices: Collection, notice: Notice, session: AsyncClientSession | None = None) -> None:
    """Note what is to be told, within a transaction when there is a session; to what is noted already it adds users."""
    system = notice.system
    once: Document = {"system.what": system.what, "system.by": system.by}
    if system.title is not None:
        once["system.title"] = system.title
    if system.role is not None:
        once["system.role"] = system.role
    if notice.open:
        once["open"] = True
    change = {
        "$setOnInsert": once,
        "$set": {"at": notice.at},
        "$addToSet": {"system.users": {"$each": system.users}},
    }
    await notices.update_one({"_id": _key(notice)}, change, upsert=True, session=session)


def _key(notice: Notice) -> str:
    return f"{notice.chat}/{notice.id}"


def _found(documents: Sequence[Document]) -> list[Notice]:
    found = []
    for document in documents:
        chat, _, id_ = document["_id"].partition("/")
        system = msgspec.convert(document["system"], System)
        found.append(Notice(id_, chat, system, document["at"], document.get("open", False)))
    return found
