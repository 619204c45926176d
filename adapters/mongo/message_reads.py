"""Reading collection `messages` in other ways than by `seq`; its shape is at the head of `adapters.mongo.messages`."""

from __future__ import annotations

from collections.abc import Collection as Several
from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo import ASCENDING, DESCENDING

from adapters.mongo.client import Collection, Document, fetch, translate
from adapters.mongo.event_documents import to_event
from adapters.storable import MAX_INT
from chat.events import Event
from chat.folding import Echoes, Reaction, ranked


class MongoReads:
    """`HistoryStore` on MongoDB."""

    def __init__(self, messages: Collection) -> None:
        self.__messages = messages

    @translate
    async def times(self, chat: str, seqs: Sequence[int]) -> dict[int, datetime]:
        """See `HistoryStore.times`."""
        if not seqs:
            return {}
        query = {"chat_id": chat, "seq": {"$in": list(seqs)}}
        documents = await fetch(self.__messages, query, {"_id": 0, "seq": 1, "created_at": 1})
        return {int(document["seq"]): document["created_at"] for document in documents}

    @translate
    async def typed(
        self, chat: str, types: Several[str], viewer: str, *, above: int, below: int, limit: int, newest: bool
    ) -> list[Event]:
        """See `HistoryStore.typed`."""
        query: Document = {
            "chat_id": chat,
            "seq": {"$gt": min(above, MAX_INT), "$lt": min(below, MAX_INT)},
            "type": {"$in": sorted(types)},
            "only": {"$in": [None, viewer]},
        }
        order = [("seq", DESCENDING if newest else ASCENDING)]
        documents = await fetch(self.__messages, query, sort=order, limit=limit)
        return [to_event(document) for document in (reversed(documents) if newest else documents)]

    @translate
    async def replies(self, chat: str, root: str, viewer: str, *, above: int, limit: int) -> list[Event]:
        """See `HistoryStore.replies`."""
        query: Document = {
            "chat_id": chat,
            "reply_to": root,
            "seq": {"$gt": min(above, MAX_INT)},
            "only": {"$in": [None, viewer]},
        }
        documents = await fetch(self.__messages, query, sort=[("seq", ASCENDING)], limit=limit)
        return [to_event(document) for document in documents]

    @translate
    async def echoes(self, chat: str, ids: Several[str], viewer: str) -> Echoes:
        """See `HistoryStore.echoes`. One question: the newest reaction of each person along one index, answers counted along another."""
        if not ids:
            return Echoes()
        wanted, seen = {"$in": sorted(ids)}, {"$in": [None, viewer]}
        # What has expired takes its emoji with it, erased yet or not.
        lasts = {"$gt": [{"$ifNull": ["$expires_at", datetime.max.replace(tzinfo=UTC)]}, datetime.now(UTC)]}
        answers = [
            {"$match": {"chat_id": chat, "reply_to": wanted, "only": seen, "type": "message"}},
            {"$group": {"_id": "$reply_to", "count": {"$sum": 1}}},
        ]
        cursor = await self.__messages.aggregate(
            [
                {"$match": {"chat_id": chat, "target": wanted, "type": "reaction", "only": seen}},
                {"$sort": {"chat_id": ASCENDING, "target": ASCENDING, "seq": ASCENDING}},
                {
                    "$group": {
                        "_id": {"target": "$target", "who": "$sender_id"},
                        "emoji": {"$last": {"$cond": [lasts, {"$ifNull": ["$body.emoji", ""]}, ""]}},
                    }
                },
                {"$match": {"emoji": {"$ne": ""}}},
                {
                    "$group": {
                        "_id": {"target": "$_id.target", "emoji": "$emoji"},
                        "count": {"$sum": 1},
                        "mine": {"$max": {"$eq": ["$_id.who", viewer]}},
                    }
                },
                {"$unionWith": {"coll": self.__messages.name, "pipeline": answers}},
            ]
        )
        return _echoes(await cursor.to_list())


def _echoes(rows: Sequence[Document]) -> Echoes:
    reactions: dict[str, list[Reaction]] = {}
    replies: dict[str, int] = {}
    for row in rows:
        if isinstance(row["_id"], str):
            replies[row["_id"]] = int(row["count"])
        else:
            one = Reaction(row["_id"]["emoji"], int(row["count"]), bool(row["mine"]))
            reactions.setdefault(row["_id"]["target"], []).append(one)
    return Echoes({target: ranked(found) for target, found in reactions.items()}, replies)
