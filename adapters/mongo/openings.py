"""A page of a chat, and whether its reader may come in, in one question to five collections."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, DESCENDING

from adapters.mongo import chats, grants, messages, receipts, sign_ins
from adapters.mongo.client import BATCH, NAIVE, Database, Document, question, translate
from adapters.mongo.event_documents import to_event
from adapters.storable import MAX_INT
from chat.history import MAX_MOVES, Opening
from chat.sign_ins import SignIn


class MongoOpenings:
    """`OpeningStore` on MongoDB."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._members = db[chats.MEMBERS]

    @translate
    async def opening(self, chat: str, *, members: int, first: int, sign_in: SignIn | None = None) -> Opening:
        """See `OpeningStore.opening`."""
        moves: list[Document] = [
            {"$match": {"chat_id": chat, "kind": {"$in": list(receipts.KINDS)}, "seq": {"$gte": first}}},
            {"$limit": MAX_MOVES + 1},
            {"$project": {"_id": 0}},
        ]
        pipeline = [*_opening(chat, members, sign_in), _with(receipts.COLLECTION, moves)]
        return _opened(await question(self._db, chats.MEMBERS, pipeline), sign_in)

    @translate
    async def below(
        self, chat: str, *, members: int, before: int, limit: int, sign_in: SignIn | None = None
    ) -> Opening:
        """See `OpeningStore.below`. By a cursor: as many events may be more than one answer holds."""
        older: list[Document] = [
            {"$match": {"chat_id": chat, "seq": {"$lt": min(before, MAX_INT)}}},
            {"$sort": {"seq": DESCENDING}},
            {"$limit": limit},
        ]
        within, *behind = receipts.reaching(chat, before - limit, before - 1)
        pipeline = [
            *_opening(chat, members, sign_in),
            _with(receipts.COLLECTION, [within, {"$limit": MAX_MOVES + 1}]),
            *behind,
            _with(messages.COLLECTION, older),
        ]
        cursor = await self._members.with_options(codec_options=NAIVE).aggregate(pipeline, batchSize=BATCH)
        return _opened(await cursor.to_list(), sign_in)


def _opening(chat: str, members: int, sign_in: SignIn | None) -> list[Document]:
    """Stages on `members` that find these, the sign-in, and the newest event before any other."""
    newest: list[Document] = [{"$match": {"chat_id": chat}}, {"$sort": {"seq": DESCENDING}}, {"$limit": 1}]
    stages: list[Document] = [
        {"$match": {"chat_id": chat, "left_at": None}},
        {"$sort": {"chat_id": ASCENDING, "user_id": ASCENDING}},
        {"$limit": members},
        _with(messages.COLLECTION, newest),
    ]
    return stages if sign_in is None else [*stages, _with(grants.COLLECTION, sign_ins.pipeline([sign_in]))]


def _with(collection: str, pipeline: Sequence[Document]) -> Document:
    return {"$unionWith": {"coll": collection, "pipeline": pipeline}}


def _opened(found: Sequence[Document], sign_in: SignIn | None) -> Opening:
    events = [to_event(document) for document in found if "sender_id" in document]
    log = [receipts.to_receipt(document) for document in found if "kind" in document]
    log.sort(key=lambda row: (row.seq, row.kind, row.user))
    return Opening(
        members=[chats.to_member(document) for document in found if "role" in document],
        newest=events[0] if events else None,
        receipts=log if len(log) <= MAX_MOVES else None,
        signed_in=sign_in is not None and bool(sign_ins.held([sign_in], found)),
        events=events[:0:-1],
    )
