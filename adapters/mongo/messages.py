"""Collection `messages`: one document per stored event.

| field | type | meaning |
|---|---|---|
| `_id` | string | the message id (UUID), chosen by its sender: the fence that keeps P4 |
| `chat_id` | string | its chat |
| `seq` | int | its place in the chat, dense from 1 |
| `n` | int | how many messages the chat held with it |
| `type` | string | `message`, `edit`, `delete`, `hide`, `reaction`, `unreact`, `pin`, `unpin`, `system`, `void` |
| `sender_id` | string | user, device or service |
| `created_at` | date | when the server stored it |
| `body` | object? | `text` · `attachment` {`url`, `content_type`, `size`?, `name`?} · `data` (text) or `data_json` (JSON as text) with `content_type`?, `encoding`? · `cipher` · `emoji` |
| `target` | string? | the message that an edit, delete, hide, reaction, unreact, pin or unpin is about |
| `reply_to` | string? | the message that it answers |
| `mentions` | [string]? | user ids |
| `edited_at`, `deleted_at` | date? | when an edit changed, or a delete took away, `body` |
| `expires_at` | date? | when `body` is to be erased; gone once it is |
| `push` | date? | push mark, = `created_at` (later: sent off again): pushes of it have not ended yet |
| `only` | string? | the user who alone may see it; everybody else is shown a `void` (`chat.views`) |
| `hidden_by` | [string]? | users who have hidden it from themselves |
| `forwarded` | object? | `id`, `sender`, `at` of the message that was forwarded |
| `system` | object? | of a `system` event: `what`, `by`, `users`, `title`?, `role`? |
| `pinned_at`, `pin_at` | date? | pinned since; when it was last pinned or unpinned |
| `trace_id` | string? | of the request that brought it |

| index | for |
|---|---|
| unique `(chat_id, seq)` | P3's fence; head, pages both ways, newest message |
| `push`, partial: where it exists | the sweep for marks that were left |
| `expires_at`, partial: where it exists | the sweep for what has expired |
| `(chat_id, pinned_at)`, partial: where `pinned_at` exists | what is pinned |
| `(chat_id, target, seq)`, partial: where `target` exists | reactions to a message |
| `(chat_id, reply_to, seq)`, partial: where `reply_to` exists | answers to a message |

Not a TTL index on `expires_at`: deleting a document would open a hole in `seq` (a client would heal a gap that nobody can fill), and
deleting the newest one would give its `seq` away a second time. Not `(chat_id, created_at)` either:
measured, it takes 12 to 18 % of the insert rate. Times rise with `seq`, so history by time looks for a `seq` (`api/messages/moments.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import bson
from bson.errors import BSONError
from pymongo import ASCENDING, DESCENDING, IndexModel, UpdateOne
from pymongo.errors import BulkWriteError

from adapters.mongo.client import BATCH, DUPLICATE_KEY, MAJORITY, Database, Document, fetch, translate
from adapters.mongo.event_documents import to_body, to_document, to_event
from adapters.mongo.message_reads import MongoReads
from adapters.mongo.push_marks import MongoPushMarks
from adapters.storable import MAX_INT, unstorable
from chat.envelopes import Body, Event
from chat.errors import BadInput, Unavailable
from chat.models import Head, Slot
from chat.ports import Inserted

COLLECTION = "messages"
INDEXES = [
    IndexModel([("chat_id", ASCENDING), ("seq", ASCENDING)], unique=True),
    IndexModel([("push", ASCENDING)], partialFilterExpression={"push": {"$exists": True}}),
    IndexModel([("expires_at", ASCENDING)], partialFilterExpression={"expires_at": {"$exists": True}}),
    IndexModel(
        [("chat_id", ASCENDING), ("pinned_at", DESCENDING), ("seq", DESCENDING)],
        partialFilterExpression={"pinned_at": {"$exists": True}},
    ),
    IndexModel(
        [("chat_id", ASCENDING), ("target", ASCENDING), ("seq", ASCENDING)],
        partialFilterExpression={"target": {"$exists": True}},
    ),
    IndexModel(
        [("chat_id", ASCENDING), ("reply_to", ASCENDING), ("seq", ASCENDING)],
        partialFilterExpression={"reply_to": {"$exists": True}},
    ),
]

# How long to wait for an event of another writer, whose id is taken, to reach the majority. Seconds.
_TAKEN_PAUSES = (0.005, 0.02, 0.05, 0.1, 0.2)

_COMMAND_BYTES = 40_000_000
"""What is sent as one command; the database takes 48 MB."""

_BESIDE = 16_384
"""Bytes of a document beside its body at most: a hundred mentions are the most of it."""

_STORED = Inserted(stored=True)
_SEQ_TAKEN = Inserted(stored=False, seq_taken=True)


class MongoMessages(MongoReads, MongoPushMarks):
    """`MessageStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._messages = db[COLLECTION]
        MongoReads.__init__(self, self._messages)
        MongoPushMarks.__init__(self, self._messages)

    @translate
    async def insert(self, events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
        """See `MessageStore.insert`.

        Raises:
            BadInput: `unstorable`: a document can't hold one of the events; the reason names it. Nothing was stored.
        """
        if not events:
            return []
        documents = _documents(events, push)
        try:
            errors = await self._insert(documents)
        except (BSONError, OverflowError, UnicodeError) as error:
            raise _refusal(documents) from error
        return await self._sort_out(events, errors) if errors else [_STORED] * len(events)

    async def _insert(self, documents: list[Document]) -> list[dict[str, Any]]:
        """Insert what the fences let in; the errors of the rest, each with its `index`.

        By the bare command: the driver's `insert_many` works a third longer on each document, and its own retry needs a record of each
        command in the database, while ours (`bridge.commit`) is there in any case. It divides what passes the size of a message, though.

        Raises:
            BulkWriteError: something else than a fence.
        """
        if sum(map(_weight, documents)) > _COMMAND_BYTES:
            try:
                await self._messages.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                return _fenced(error.details["writeErrors"], error.details.get("writeConcernErrors"))
            return []
        answer = await self._messages.database.command(
            {"insert": COLLECTION, "ordered": False, "documents": documents, "writeConcern": MAJORITY}
        )
        if "writeErrors" not in answer and "writeConcernError" not in answer:
            return []
        concern = answer.get("writeConcernError")
        return _fenced(answer.get("writeErrors", []), [concern] if concern else [])

    async def _sort_out(self, events: Sequence[Event], write_errors: Sequence[dict[str, Any]]) -> list[Inserted]:
        """Which fence stopped which event. Where both would, the database reports either: an id that is stored counts first."""
        by_id = {e["index"]: "_id" in e.get("keyPattern", {}) for e in write_errors}
        taken = await self._taken(
            [events[index].id for index in by_id], {events[index].id for index, is_id in by_id.items() if is_id}
        )
        answers = [_STORED] * len(events)
        for index in by_id:
            stored = taken.get(events[index].id)
            answers[index] = _SEQ_TAKEN if stored is None else Inserted(stored=False, taken_by=stored)
        return answers

    async def _taken(self, ids: Sequence[str], known: set[str]) -> dict[str, Event]:
        """Those of `ids` that are stored. `known` are: if the majority does not have one yet, wait for it.

        Its sender would be told that it is stored, and P1 lets nobody be told before the majority has it.
        """
        for pause in _TAKEN_PAUSES:
            taken = await self.by_ids(ids)
            if known <= taken.keys():
                return taken
            await asyncio.sleep(pause)
        raise Unavailable("another writer's event has not reached the majority yet")

    @translate
    async def by_ids(self, ids: Sequence[str]) -> dict[str, Event]:
        """See `MessageStore.by_ids`."""
        if not ids:
            return {}
        documents = await fetch(self._messages, {"_id": {"$in": list(ids)}})
        return {document["_id"]: to_event(document) for document in documents}

    @translate
    async def head(self, chat: str) -> Head:
        """See `MessageStore.head`."""
        document = await self._messages.find_one(
            {"chat_id": chat}, {"_id": 0, "seq": 1, "n": 1}, sort=[("seq", DESCENDING)]
        )
        return Head() if document is None else _head(document)

    @translate
    async def heads(self, chats: Sequence[str]) -> dict[str, Head]:
        """See `MessageStore.heads`. The index is stepped through chat by chat (DISTINCT_SCAN): one document read per chat."""
        if not chats:
            return {}
        heads = dict.fromkeys(chats, Head())
        cursor = await self._messages.aggregate(
            [
                {"$match": {"chat_id": {"$in": list(heads)}}},
                {"$sort": {"chat_id": DESCENDING, "seq": DESCENDING}},
                {"$group": {"_id": "$chat_id", "seq": {"$first": "$seq"}, "n": {"$first": "$n"}}},
            ]
        )
        heads.update({document["_id"]: _head(document) async for document in cursor})
        return heads

    @translate
    async def latest(self, chats: Sequence[str]) -> dict[str, Event]:
        """See `MessageStore.latest`. Mostly it is a chat's newest event, which the index leads to; only of the others is it looked for."""
        if not chats:
            return {}
        newest: list[Document] = [
            {"$match": {"chat_id": {"$in": list(chats)}}},
            {"$sort": {"chat_id": DESCENDING, "seq": DESCENDING}},
            {"$group": {"_id": "$chat_id", "newest": {"$first": "$$ROOT"}}},
        ]
        cursor = await self._messages.aggregate(newest, batchSize=BATCH)
        heads = {row["_id"]: row["newest"] for row in await cursor.to_list()}
        found = {chat: to_event(head) for chat, head in heads.items() if _is_shown(head)}
        return found | await self._behind([chat for chat in heads if chat not in found])

    async def _behind(self, chats: Sequence[str]) -> dict[str, Event]:
        """The newest messages of chats that end with something else: per chat it reads backwards over that (edits, reactions)."""
        if not chats:
            return {}
        newest = [{"$match": {"type": "message", "only": None}}, {"$sort": {"seq": DESCENDING}}, {"$limit": 1}]
        cursor = await self._messages.database.aggregate(
            [
                {"$documents": [{"chat": chat} for chat in chats]},
                {
                    "$lookup": {
                        "from": COLLECTION,
                        "localField": "chat",
                        "foreignField": "chat_id",
                        "pipeline": newest,
                        "as": "newest",
                    }
                },
                {"$unwind": "$newest"},
            ]
        )
        return {document["chat"]: to_event(document["newest"]) async for document in cursor}

    @translate
    async def after(self, chat: str, seq: int, limit: int) -> list[Event]:
        """See `MessageStore.after`."""
        query = {"chat_id": chat, "seq": {"$gt": min(seq, MAX_INT)}}
        documents = await fetch(self._messages, query, sort=[("seq", ASCENDING)], limit=limit)
        return [to_event(document) for document in documents]

    @translate
    async def before(self, chat: str, seq: int | None, limit: int) -> list[Event]:
        """See `MessageStore.before`."""
        query: Document = {"chat_id": chat}
        if seq is not None:
            query["seq"] = {"$lt": min(seq, MAX_INT)}
        documents = await fetch(self._messages, query, sort=[("seq", DESCENDING)], limit=limit)
        return [to_event(document) for document in reversed(documents)]

    @translate
    async def n_at(self, chat: str, seqs: Sequence[int]) -> dict[int, int]:
        """See `MessageStore.n_at`."""
        if not seqs:
            return {}
        query = {"chat_id": chat, "seq": {"$in": [seq for seq in seqs if seq <= MAX_INT]}}
        documents = await fetch(self._messages, query, {"_id": 0, "seq": 1, "n": 1})
        return {int(document["seq"]): int(document["n"]) for document in documents}

    @translate
    async def slots(self, chat: str, first: int, last: int) -> dict[int, Slot]:
        """See `MessageStore.slots`."""
        query = {"chat_id": chat, "seq": {"$gte": min(first, MAX_INT), "$lte": min(last, MAX_INT)}}
        fields = {"_id": 0, "seq": 1, "n": 1, "sender_id": 1, "type": 1, "only": 1}
        return {int(document["seq"]): _slot(document) for document in await fetch(self._messages, query, fields)}

    @translate
    async def renumber(self, chat: str, ns: Mapping[int, int]) -> None:
        """See `MessageStore.renumber`."""
        changes = [UpdateOne({"chat_id": chat, "seq": seq}, {"$set": {"n": n}}) for seq, n in ns.items()]
        if changes:
            await self._messages.bulk_write(changes, ordered=False)

    @translate
    async def rewrite(
        self, target: str, *, body: object | None, edited_at: datetime | None, deleted_at: datetime | None
    ) -> None:
        """See `MessageStore.rewrite`. Harmless when repeated or late: a delete is final, an edit never undoes a newer one."""
        query: Document = {"_id": target, "deleted_at": None}
        if deleted_at is not None:
            change = {"$set": {"deleted_at": deleted_at}, "$unset": {"body": "", "expires_at": "", "pinned_at": ""}}
            await self._messages.update_one(query, change)
        elif edited_at is not None:
            if not isinstance(body, Body):
                raise TypeError("an edit brings a Body")
            query["$or"] = [{"edited_at": None}, {"edited_at": {"$lte": edited_at}}]
            await self._messages.update_one(query, {"$set": {"body": to_body(body), "edited_at": edited_at}})

    @translate
    async def hide(self, target: str, user: str) -> None:
        """See `MessageStore.hide`."""
        await self._messages.update_one({"_id": target}, {"$addToSet": {"hidden_by": user}})

    @translate
    async def pin(self, target: str, *, at: datetime, pinned: bool) -> None:
        """See `MessageStore.pin`."""
        query: Document = {"_id": target, "deleted_at": None, "$or": [{"pin_at": None}, {"pin_at": {"$lte": at}}]}
        change: Document = {"$set": {"pin_at": at, "pinned_at": at}}
        if not pinned:
            change = {"$set": {"pin_at": at}, "$unset": {"pinned_at": ""}}
        await self._messages.update_one(query, change)

    @translate
    async def pinned(self, chat: str, limit: int) -> list[Event]:
        """See `MessageStore.pinned`."""
        query = {"chat_id": chat, "pinned_at": {"$exists": True}}
        newest = [("pinned_at", DESCENDING), ("seq", DESCENDING)]
        events = [to_event(document) for document in await fetch(self._messages, query, sort=newest, limit=limit)]
        return [event for event in events if event.pinned_at is not None]

    @translate
    async def erase_expired(self, *, now: datetime, limit: int) -> int:
        """See `MessageStore.erase_expired`."""
        query = {"expires_at": {"$lte": now}}
        due = await fetch(self._messages, query, {"_id": 1}, sort=[("expires_at", ASCENDING)], limit=limit)
        ids = [document["_id"] for document in due]
        if not ids:
            return 0
        result = await self._messages.update_many(
            {"_id": {"$in": ids}, **query},
            [
                {"$set": {"deleted_at": "$expires_at"}},
                {"$unset": ["body", "expires_at", "push", "pinned_at"]},
            ],
        )
        return result.modified_count


def _weight(document: Document) -> int:
    """About the bytes of a document, never less than they are: four for each character of its texts."""
    body: Document = document.get("body") or {}
    text: str | None = body.get("text")
    if text is None:
        values = [*body.values(), *body.get("attachment", {}).values()]
        return _BESIDE + 4 * sum(len(value) for value in values if isinstance(value, str))
    return _BESIDE + 4 * len(text)


def _fenced(write_errors: list[dict[str, Any]], concern_errors: Any) -> list[dict[str, Any]]:
    """The errors of an insert if they are all about the fences.

    Raises:
        BulkWriteError: they are not.
    """
    if concern_errors or any(error["code"] != DUPLICATE_KEY for error in write_errors):
        raise BulkWriteError({"writeErrors": write_errors, "writeConcernErrors": concern_errors or []})
    return write_errors


def _head(document: Document) -> Head:
    return Head(seq=int(document["seq"]), n=int(document["n"]))


def _slot(document: Document) -> Slot:
    counts = document["type"] == "message" and "only" not in document
    return Slot(int(document["n"]), document["sender_id"], counts)


def _documents(events: Sequence[Event], push: frozenset[str]) -> list[Document]:
    documents = []
    for event in events:
        try:
            documents.append(to_document(event, push=event.id in push))
        except ValueError as error:
            raise unstorable(event.id, str(error)) from None
    return documents


def _refusal(documents: Sequence[Document]) -> BadInput:
    """Names the document that BSON refused. The driver encodes a batch before it sends it, so nothing was stored."""
    for document in documents:
        try:
            bson.encode(document)
        except (BSONError, OverflowError, UnicodeError) as error:
            return unstorable(document["_id"], f"{type(error).__name__} as BSON")
    return BadInput("a batch has more bytes than the database takes", code="unstorable")


def _is_shown(document: Document) -> bool:
    """Whether it is a message, and for all."""
    return document["type"] == "message" and document.get("only") is None
