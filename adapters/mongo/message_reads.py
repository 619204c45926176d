"""Reading collection `messages` in other ways than by `seq`; its shape is at the head of `adapters.mongo.messages`."""

from __future__ import annotations

from collections.abc import Collection as Several
from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter

from pymongo import ASCENDING, DESCENDING

from adapters.mongo.client import BATCH, Collection, Document, fetch, translate
from adapters.mongo.event_documents import to_event
from adapters.storable import MAX_INT
from chat.events import Body, Event
from chat.folding import Echoes, Reaction, echoes, ranked

_REACTIONS = ("reaction", "unreact")

# Of one person's, in order: a reaction takes the place of the one before, `unreact` takes away the same (`chat.folding.echoes`).
_TAKEN_BACK = {"$cond": [{"$eq": ["$$this.emoji", "$$value"]}, "", "$$value"]}
_NEWEST = {"$cond": [{"$eq": ["$$this.type", "reaction"]}, "$$this.emoji", _TAKEN_BACK]}


class MongoReads:
    """`HistoryStore` on MongoDB.

    Attributes:
        few: reactions to, and answers to, the messages of a page that are read one by one.
    """

    def __init__(self, messages: Collection, *, few: int = 200) -> None:
        self.__messages = messages
        self.few = few

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
        """See `HistoryStore.echoes`. Most pages have few reactions and answers, which are read; where there are many, the database counts them:
        to have it count costs it three times as much as to find nothing.
        """
        if not ids:
            return Echoes()
        few = await self._read_echoes(chat, ids, viewer)
        return few if few is not None else await self._counted_echoes(chat, ids, viewer)

    async def _read_echoes(self, chat: str, ids: Several[str], viewer: str) -> Echoes | None:
        """What came back, from these events themselves; None when they are many."""
        wanted, seen = {"$in": sorted(ids)}, {"$in": [None, viewer]}
        fields = ("seq", "type", "sender_id", "target", "reply_to", "body.emoji", "expires_at")
        some: list[Document] = [{"$limit": self.few + 1}, {"$project": {"_id": 0, **dict.fromkeys(fields, 1)}}]
        reactions: Document = {"chat_id": chat, "target": wanted, "type": {"$in": _REACTIONS}, "only": seen}
        answers: Document = {"chat_id": chat, "reply_to": wanted, "type": "message", "only": seen}
        beside = {"$unionWith": {"coll": self.__messages.name, "pipeline": [{"$match": answers}, *some]}}
        cursor = await self.__messages.aggregate([{"$match": reactions}, *some, beside], batchSize=BATCH)
        rows = await cursor.to_list()
        return None if len(rows) > self.few else _folded(rows, viewer)

    async def _counted_echoes(self, chat: str, ids: Several[str], viewer: str) -> Echoes:
        """One question: the newest reaction of each person along one index, answers counted along another."""
        wanted, seen = {"$in": sorted(ids)}, {"$in": [None, viewer]}
        # What has expired takes its emoji with it, erased yet or not.
        lasts = {"$gt": [{"$ifNull": ["$expires_at", datetime.max.replace(tzinfo=UTC)]}, datetime.now(UTC)]}
        emoji = {"$cond": [lasts, {"$ifNull": ["$body.emoji", ""]}, ""]}
        answers = [
            {"$match": {"chat_id": chat, "reply_to": wanted, "only": seen, "type": "message"}},
            {"$group": {"_id": "$reply_to", "count": {"$sum": 1}}},
        ]
        cursor = await self.__messages.aggregate(
            [
                {"$match": {"chat_id": chat, "target": wanted, "type": {"$in": _REACTIONS}, "only": seen}},
                {"$sort": {"chat_id": ASCENDING, "target": ASCENDING, "seq": ASCENDING}},
                {
                    "$group": {
                        "_id": {"target": "$target", "who": "$sender_id"},
                        "all": {"$push": {"type": "$type", "emoji": emoji}},
                    }
                },
                {"$set": {"emoji": {"$reduce": {"input": "$all", "initialValue": "", "in": _NEWEST}}}},
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


def _folded(rows: Sequence[Document], viewer: str) -> Echoes:
    """The rules of `chat.folding.echoes`, on what it needs of the events."""
    now = datetime.now(UTC)
    events = []
    for row in sorted(rows, key=itemgetter("seq")):
        expires_at = row.get("expires_at")
        emoji = row.get("body", {}).get("emoji") if expires_at is None or expires_at > now else None
        event = Event(row["type"], "", "", 0, 0, row["sender_id"], now, target=row.get("target"))
        event.reply_to, event.body = row.get("reply_to"), Body(emoji=emoji)
        events.append(event)
    return echoes(events, viewer)


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
