"""Regular upkeep of `messages`, `chats`, `receipts`, `refresh_tokens`, `push_tokens`, `idempotency`; their own files give the shapes.

TTL indexes forget sign-ins and idempotency keys too. They look at one time of a document each, and not at all on a server that was told
not to (`ttlMonitorEnabled`); this is the same by the clock of ours, with numbers to look at.
"""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile

from pymongo import ASCENDING, DeleteMany, IndexModel

from adapters.mongo import chats, grants, idempotency, messages, push_tokens, receipts
from adapters.mongo.client import Collection, Database, Document, fetch, translate
from adapters.storable import MAX_INT
from chat.upkeep import Keeping
from chat.views import VOID_SENDER

CHAT_INDEXES = [
    IndexModel([("retention_days", ASCENDING)], partialFilterExpression={"retention_days": {"$exists": True}}),
]

_WORDS = ("body", "mentions", "forwarded", "hidden_by", "pinned_at", "expires_at", "push", "trace_id")
"""What a message loses; who wrote it when, and what it answered, stays."""

_ABOUT = (*_WORDS, "target", "reply_to", "only", "edited_at", "deleted_at")
"""What else an event loses that becomes a `void`."""


class MongoUpkeep:
    """`UpkeepStore` on the collections above."""

    def __init__(self, db: Database) -> None:
        self._messages = db[messages.COLLECTION]
        self._chats = db[chats.CHATS]
        self._receipts = db[receipts.COLLECTION]
        self._grants = db[grants.COLLECTION]
        self._tokens = db[push_tokens.COLLECTION]
        self._keys = db[idempotency.COLLECTION]

    @translate
    async def set_retention(self, chat: str, days: int | None) -> bool:
        """See `UpkeepStore.set_retention`."""
        change = {"$unset": {"retention_days": ""}} if days is None else {"$set": {"retention_days": days}}
        return (await self._chats.update_one({"_id": chat}, change)).matched_count > 0

    @translate
    async def keepings(self, *, after: str, limit: int, own: bool) -> list[Keeping]:
        """See `UpkeepStore.keepings`."""
        query: Document = {"_id": {"$gt": after}, **({"retention_days": {"$exists": True}} if own else {})}
        fields = {"retention_days": 1, "erased_seq": 1}
        found = await fetch(self._chats, query, fields, sort=[("_id", ASCENDING)], limit=limit)
        return [Keeping(one["_id"], one.get("retention_days"), int(one.get("erased_seq", 0))) for one in found]

    @translate
    async def erase_before(
        self, chat: str, *, after: int, before: datetime, now: datetime, limit: int
    ) -> tuple[int, int]:
        """See `UpkeepStore.erase_before`. Times rise with `seq`, so the first one that is too young ends it."""
        query = {"chat_id": chat, "seq": {"$gt": min(after, MAX_INT)}}
        fields = {"seq": 1, "created_at": 1}
        found = await fetch(self._messages, query, fields, sort=[("seq", ASCENDING)], limit=limit)
        old = list(takewhile(lambda one: one["created_at"] < before, found))
        if not old:
            return after, 0
        which: Document = {"chat_id": chat, "seq": {"$gt": after, "$lte": old[-1]["seq"]}}
        await self._messages.update_many(
            {**which, "type": "message"},
            [{"$set": {"deleted_at": {"$ifNull": ["$deleted_at", now]}}}, {"$unset": list(_WORDS)}],
        )
        await self._messages.update_many(
            {**which, "type": {"$nin": ["message", "system", "void"]}},
            {"$set": {"type": "void", "sender_id": VOID_SENDER}, "$unset": dict.fromkeys(_ABOUT, "")},
        )
        return int(old[-1]["seq"]), len(old)

    @translate
    async def note_erased(self, chat: str, seq: int) -> None:
        """See `UpkeepStore.note_erased`."""
        await self._chats.update_one({"_id": chat}, {"$max": {"erased_seq": seq}})

    @translate
    async def drop_receipts(self, chat: str, seq: int, limit: int) -> int:
        """See `UpkeepStore.drop_receipts`."""
        query = {"chat_id": chat, "kind": {"$in": list(receipts.KINDS)}, "seq": {"$lte": min(seq, MAX_INT)}}
        return await _drop(self._receipts, query, limit)

    @translate
    async def oldest_receipt(self) -> datetime | None:
        """See `UpkeepStore.oldest_receipt`."""
        found = await self._receipts.find_one({}, {"at": 1}, sort=[("at", ASCENDING)])
        at: datetime | None = found["at"] if found else None
        return at

    @translate
    async def fold_receipts(self, start: datetime, end: datetime, limit: int) -> int:
        """See `UpkeepStore.fold_receipts`."""
        within = {"at": {"$gte": start, "$lt": end}}
        whose = {"chat_id": "$chat_id", "kind": "$kind", "user_id": "$user_id"}
        cursor = await self._receipts.aggregate(
            [
                {"$match": within},
                {"$group": {"_id": whose, "last": {"$max": "$seq"}, "rows": {"$sum": 1}}},
                {"$match": {"rows": {"$gt": 1}}},
                {"$limit": limit},
            ]
        )
        going = [DeleteMany({**one["_id"], "seq": {"$lt": one["last"]}, **within}) for one in await cursor.to_list()]
        if not going:
            return 0
        return (await self._receipts.bulk_write(going, ordered=False)).deleted_count

    @translate
    async def forget_sign_ins(self, before: datetime, limit: int) -> int:
        """See `UpkeepStore.forget_sign_ins`."""
        return await _drop(
            self._grants, {"$or": [{"expires_at": {"$lt": before}}, {"revoked_at": {"$lt": before}}]}, limit
        )

    @translate
    async def forget_push_tokens(self, before: datetime, limit: int) -> int:
        """See `UpkeepStore.forget_push_tokens`."""
        return await _drop(self._tokens, {"updated_at": {"$lt": before}}, limit)

    @translate
    async def forget_keys(self, now: datetime, limit: int) -> int:
        """See `UpkeepStore.forget_keys`."""
        return await _drop(self._keys, {"expires_at": {"$lte": now}}, limit)


async def _drop(collection: Collection, query: Document, limit: int) -> int:
    """Delete some of what a query finds, if it still does."""
    ids = [one["_id"] for one in await fetch(collection, query, {"_id": 1}, limit=limit)]
    if not ids:
        return 0
    return (await collection.delete_many({"_id": {"$in": ids}, **query})).deleted_count
