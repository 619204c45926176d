"""The push marks in collection `messages`; its shape is at the head of `adapters.mongo.messages`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pymongo import ASCENDING, DESCENDING

from adapters.mongo.client import Collection, fetch, translate
from adapters.mongo.event_documents import to_event
from adapters.storable import MAX_INT
from chat.events import Event
from chat.pushes import Marked


class MongoPushMarks:
    """`PushMarkStore` on MongoDB."""

    def __init__(self, messages: Collection) -> None:
        self.__messages = messages

    @translate
    async def push_pending(self, *, older_than: datetime, limit: int, skip: int = 0) -> list[str]:
        """See `PushMarkStore.push_pending`; the oldest first."""
        query = {"push": {"$lt": older_than}}
        if limit < 1:
            return []
        cursor = self.__messages.find(
            query, {"_id": 1}, sort=[("push", ASCENDING)], limit=limit, skip=skip, batch_size=limit
        )
        documents = await cursor.to_list()
        return [document["_id"] for document in documents]

    @translate
    async def push_claim(self, message_id: str) -> Event | None:
        """See `PushMarkStore.push_claim`."""
        document = await self.__messages.find_one({"_id": message_id, "push": {"$exists": True}})
        return None if document is None else to_event(document)

    @translate
    async def push_claims(self, message_ids: Sequence[str]) -> list[Marked]:
        """See `PushMarkStore.push_claims`."""
        if not message_ids:
            return []
        query = {"_id": {"$in": list(message_ids)}, "push": {"$exists": True}}
        return [Marked(to_event(document), document["push"]) for document in await fetch(self.__messages, query)]

    @translate
    async def push_newer(self, seqs: Mapping[str, int], *, limit: int) -> list[Marked]:
        """See `PushMarkStore.push_newer`: from behind each `seq` on, which is the end of its chat unless many wait."""
        if not seqs:
            return []
        behind = [{"chat_id": chat, "seq": {"$gt": min(seq, MAX_INT)}} for chat, seq in seqs.items()]
        query = {"$or": behind, "push": {"$exists": True}}
        newest = [("seq", DESCENDING)]
        found = await fetch(self.__messages, query, sort=newest, limit=limit)
        return [Marked(to_event(document), document["push"]) for document in found]

    @translate
    async def push_done(self, *message_ids: str) -> None:
        """See `PushMarkStore.push_done`."""
        if message_ids:
            await self.__messages.update_many({"_id": {"$in": list(message_ids)}}, {"$unset": {"push": ""}})

    @translate
    async def push_again(self, message_id: str, at: datetime) -> bool:
        """See `PushMarkStore.push_again`."""
        query = {"_id": message_id, "type": "message"}
        return (await self.__messages.update_one(query, {"$set": {"push": at}})).matched_count > 0
