"""Collection `receipts`: one document per move of a watermark, from which `delivered_at` and `seen_at` of a message follow.

| field | type | meaning |
|---|---|---|
| `_id` | ObjectId | nobody asks for it |
| `chat_id`, `user_id` | string | whose watermark |
| `kind` | string | `delivered` or `seen` |
| `seq` | int | everything up to it |
| `at` | date | since when |

| index | for |
|---|---|
| unique `(chat_id, kind, user_id, seq)` | `reached`; a batch that is appended again changes nothing |
| TTL `at`, a year | bounds the log; older messages keep their status (from watermarks) |
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel
from pymongo.errors import BulkWriteError

from adapters.mongo.client import BATCH, DUPLICATE_KEY, Database, Document, translate, utc
from adapters.storable import MAX_INT
from chat.models import Receipt

COLLECTION = "receipts"
KEPT_SECONDS = 365 * 86_400
INDEXES = [
    IndexModel([("chat_id", ASCENDING), ("kind", ASCENDING), ("user_id", ASCENDING), ("seq", ASCENDING)], unique=True),
    IndexModel([("at", ASCENDING)], expireAfterSeconds=KEPT_SECONDS),
]

KINDS = ("delivered", "seen")


class MongoReceipts:
    """`ReceiptStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._receipts = db[COLLECTION]

    @translate
    async def append(self, receipts: Sequence[Receipt]) -> None:
        """See `ReceiptStore.append`. A row that is there already stays: the first time is the true one."""
        if not receipts:
            return
        try:
            await self._receipts.insert_many([_from_receipt(receipt) for receipt in receipts], ordered=False)
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors") or any(
                write_error["code"] != DUPLICATE_KEY for write_error in error.details["writeErrors"]
            ):
                raise

    @translate
    async def reached(self, chat: str, first: int, last: int) -> list[Receipt]:
        """See `ReceiptStore.reached`; rows of one `seq` by kind and user. One question: the way to the database costs more than the answer."""
        cursor = await self._receipts.aggregate(reaching(chat, first, last), batchSize=BATCH)
        rows = [to_receipt(document) for document in await cursor.to_list()]
        return sorted(rows, key=lambda row: (row.seq, row.kind, row.user))


def reaching(chat: str, first: int, last: int) -> list[Document]:
    """Stages on `receipts` that find what `ReceiptStore.reached` tells; the first stage finds the rows of the range, the others those behind."""
    within = {"chat_id": chat, "kind": {"$in": list(KINDS)}, "seq": {"$gte": first, "$lte": min(last, MAX_INT)}}
    behind = [{"$unionWith": {"coll": COLLECTION, "pipeline": _first_behind(chat, kind, last)}} for kind in KINDS]
    return [{"$match": within}, *behind]


def _first_behind(chat: str, kind: str, last: int) -> list[Document]:
    """The first row behind `last` of each user: the index is stepped through user by user (DISTINCT_SCAN)."""
    return [
        {"$match": {"chat_id": chat, "kind": kind, "seq": {"$gt": min(last, MAX_INT)}}},
        {"$sort": {"chat_id": ASCENDING, "kind": ASCENDING, "user_id": ASCENDING, "seq": ASCENDING}},
        {
            "$group": {
                "_id": "$user_id",
                "chat_id": {"$first": "$chat_id"},
                "user_id": {"$first": "$user_id"},
                "kind": {"$first": "$kind"},
                "seq": {"$first": "$seq"},
                "at": {"$first": "$at"},
            }
        },
    ]


def _from_receipt(receipt: Receipt) -> Document:
    return {
        "chat_id": receipt.chat,
        "user_id": receipt.user,
        "kind": receipt.kind,
        "seq": receipt.seq,
        "at": receipt.at,
    }


def to_receipt(document: Document) -> Receipt:
    """The move of a document."""
    return Receipt(
        chat=document["chat_id"],
        user=document["user_id"],
        kind=document["kind"],
        seq=int(document["seq"]),
        at=utc(document["at"]),
    )
