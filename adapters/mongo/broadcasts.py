"""Collection `broadcasts`: one document per announcement to many.

| field | type | meaning |
|---|---|---|
| `_id` | string | UUID |
| `text`, `by`, `at` | string, string, date | what, whose, when |
| `chats` | [string] | where to; empty: to everybody |
| `total`, `told`, `refused` | long | how many there are, and were |
| `state` | string | `running`, `done`, `cancelled` |
| `position` | string | up to where it has come |
| `leased_until` | date | whoever works on it has it for so long |
| `ended_at` | date? | |

| index | for |
|---|---|
| `(at)` | lists, newest first |
| `leased_until`, partial: where it runs | what is to be worked on |
"""

from __future__ import annotations

from datetime import UTC, datetime

from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, Document, fetch, translate
from chat.broadcasts import Broadcast, BroadcastState

COLLECTION = "broadcasts"
INDEXES = [
    IndexModel([("at", DESCENDING)]),
    IndexModel([("leased_until", ASCENDING)], partialFilterExpression={"state": BroadcastState.RUNNING.value}),
]
_RUNNING = {"state": BroadcastState.RUNNING.value}
_FREE = datetime(1970, 1, 1, tzinfo=UTC)


class MongoBroadcasts:
    """`BroadcastStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._broadcasts = db[COLLECTION]

    @translate
    async def add(self, broadcast: Broadcast) -> bool:
        """See `BroadcastStore.add`."""
        try:
            await self._broadcasts.insert_one(_from_broadcast(broadcast))
        except DuplicateKeyError:
            return False
        return True

    @translate
    async def get(self, broadcast: str) -> Broadcast | None:
        """See `BroadcastStore.get`."""
        document = await self._broadcasts.find_one({"_id": broadcast})
        return None if document is None else _to_broadcast(document)

    @translate
    async def newest(self, *, before: datetime | None = None, limit: int, everybody: bool = False) -> list[Broadcast]:
        """See `BroadcastStore.newest`."""
        query: Document = {} if before is None else {"at": {"$lt": before}}
        if everybody:
            query |= {"chats": [], "$or": [{"state": {"$ne": BroadcastState.CANCELLED.value}}, {"told": {"$gt": 0}}]}
        documents = await fetch(self._broadcasts, query, sort=[("at", DESCENDING)], limit=limit)
        return [_to_broadcast(document) for document in documents]

    @translate
    async def claim(self, *, now: datetime, until: datetime) -> Broadcast | None:
        """See `BroadcastStore.claim`."""
        document = await self._broadcasts.find_one_and_update(
            {**_RUNNING, "leased_until": {"$lte": now}},
            {"$set": {"leased_until": until}},
            sort=[("leased_until", ASCENDING)],
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _to_broadcast(document)

    @translate
    async def advance(
        self, was: Broadcast, *, position: str, told: int, refused: int, ended_at: datetime | None, until: datetime
    ) -> Broadcast | None:
        """See `BroadcastStore.advance`."""
        change: Document = {"position": position, "leased_until": until}
        if ended_at is not None:
            change |= {"state": BroadcastState.DONE.value, "ended_at": ended_at}
        document = await self._broadcasts.find_one_and_update(
            {"_id": was.id, "position": was.position, **_RUNNING},
            {"$set": change, "$inc": {"told": Int64(told), "refused": Int64(refused)}},
            return_document=ReturnDocument.AFTER,
        )
        return None if document is None else _to_broadcast(document)

    @translate
    async def cancel(self, broadcast: str, at: datetime) -> bool:
        """See `BroadcastStore.cancel`."""
        change = {"$set": {"state": BroadcastState.CANCELLED.value, "ended_at": at}}
        return bool((await self._broadcasts.update_one({"_id": broadcast, **_RUNNING}, change)).matched_count)


def _from_broadcast(broadcast: Broadcast) -> Document:
    return {
        "_id": broadcast.id,
        "text": broadcast.text,
        "by": broadcast.by,
        "at": broadcast.at,
        "chats": broadcast.chats,
        "total": Int64(broadcast.total),
        "told": Int64(broadcast.told),
        "refused": Int64(broadcast.refused),
        "state": broadcast.state.value,
        "position": broadcast.position,
        "leased_until": _FREE,
    }


def _to_broadcast(document: Document) -> Broadcast:
    return Broadcast(
        id=document["_id"],
        text=document["text"],
        by=document["by"],
        at=document["at"],
        chats=document["chats"],
        total=int(document["total"]),
        state=BroadcastState(document["state"]),
        position=document["position"],
        told=int(document["told"]),
        refused=int(document["refused"]),
        ended_at=document.get("ended_at"),
    )
