"""The newest page of a chat in one question to three collections."""

from __future__ import annotations

from pymongo import ASCENDING, DESCENDING

from adapters.mongo import chats, messages, receipts
from adapters.mongo.client import BATCH, Database, Document, translate
from adapters.mongo.event_documents import to_event
from chat.history import MAX_MOVES, Opening


class MongoOpenings:
    """`OpeningStore` on MongoDB."""

    def __init__(self, db: Database) -> None:
        self._members = db[chats.MEMBERS]

    @translate
    async def opening(self, chat: str, *, members: int, first: int) -> Opening:
        """See `OpeningStore.opening`."""
        newest = [{"$match": {"chat_id": chat}}, {"$sort": {"seq": DESCENDING}}, {"$limit": 1}]
        moves = [
            {"$match": {"chat_id": chat, "kind": {"$in": list(receipts.KINDS)}, "seq": {"$gte": first}}},
            {"$limit": MAX_MOVES + 1},
        ]
        pipeline: list[Document] = [
            {"$match": {"chat_id": chat, "left_at": None}},
            {"$sort": {"chat_id": ASCENDING, "user_id": ASCENDING}},
            {"$limit": members},
            {"$unionWith": {"coll": messages.COLLECTION, "pipeline": newest}},
            {"$unionWith": {"coll": receipts.COLLECTION, "pipeline": moves}},
        ]
        cursor = await self._members.aggregate(pipeline, batchSize=BATCH)
        found = await cursor.to_list()
        rows = [chats.to_member(document) for document in found if "role" in document]
        events = [to_event(document) for document in found if "sender_id" in document]
        log = [receipts.to_receipt(document) for document in found if "kind" in document]
        log.sort(key=lambda row: (row.seq, row.kind, row.user))
        return Opening(rows, events[0] if events else None, log if len(log) <= MAX_MOVES else None)
