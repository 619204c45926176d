"""The newest page of a chat, and whether its reader may come in, in one question to five collections."""

from __future__ import annotations

from pymongo import ASCENDING, DESCENDING

from adapters.mongo import chats, grants, messages, receipts, sign_ins
from adapters.mongo.client import Database, Document, question, translate
from adapters.mongo.event_documents import to_event
from chat.history import MAX_MOVES, Opening
from chat.sign_ins import SignIn


class MongoOpenings:
    """`OpeningStore` on MongoDB."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @translate
    async def opening(self, chat: str, *, members: int, first: int, sign_in: SignIn | None = None) -> Opening:
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
        asked = [] if sign_in is None else [sign_in]
        if asked:
            pipeline.append({"$unionWith": {"coll": grants.COLLECTION, "pipeline": sign_ins.pipeline(asked)}})
        found = await question(self._db, chats.MEMBERS, pipeline)
        rows = [chats.to_member(document) for document in found if "role" in document]
        events = [to_event(document) for document in found if "sender_id" in document]
        log = [receipts.to_receipt(document) for document in found if "kind" in document]
        log.sort(key=lambda row: (row.seq, row.kind, row.user))
        return Opening(
            members=rows,
            newest=events[0] if events else None,
            receipts=log if len(log) <= MAX_MOVES else None,
            signed_in=bool(sign_ins.held(asked, found)),
        )
