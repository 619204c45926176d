"""Collections `statistics`, `statistics_active` and `statistics_positions`: roll-ups of `messages` and `receipts`.

`statistics`: one document per hour and per day. `_id` `h:2026-05-04T03` or `d:2026-05-04` · `at` date, its begin · `messages`, `active_users`,
`deliveries` long · `latencies` {bucket: long}.

`statistics_active`: `_id` that of the hour or day, a slash, the user · `at` date. TTL `at`, 40 days: a day that is over for so long is no
longer counted in.

`statistics_positions`: up to where it has been counted. `_id` `chat/{chat}` · `seq` long; `_id` `receipts` · `row` ObjectId; `_id` `pass` ·
`since`, `began`, `done` date.

Events are found by chat and `seq`, and chats by `last_at`: an index on the time of messages would cost every insert 12 to 18 %
(`adapters.mongo.messages`), for a question that is asked every few minutes. Positions and what they stand for move in one
transaction, on the condition that the position is where the count began: a row is counted once, whoever counts and dies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pymongo
from bson import ObjectId
from bson.int64 import Int64
from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from adapters.mongo import chats, messages, receipts
from adapters.mongo.client import OPERATION_MS, Collection, Database, Document, fetch, translate
from chat.statistics import BOUNDS_MS, Figures, RolledUp, Span, Tally

ROLLED = "statistics"
ACTIVE = "statistics_active"
POSITIONS = "statistics_positions"
ACTIVE_INDEXES = [IndexModel([("at", ASCENDING)], expireAfterSeconds=40 * 86_400)]

SETTLED = timedelta(seconds=60)
"""Receipts are counted when they are so old: their ids rise with the clocks of the bridges, which differ a little."""

OVERLAP = timedelta(hours=1)
"""How far behind the start of the last whole pass chats are looked at again: `last_at` is a cache that may be late."""

CHATS_AT_ONCE = 500
ROWS_AT_ONCE = 2_000

_NAMES = {Span.HOUR: "h:%Y-%m-%dT%H", Span.DAY: "d:%Y-%m-%d"}


class _Moved(Exception):
    """Another process has counted these rows."""


class MongoStatistics:
    """`StatisticsStore` on the collections above."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rolled = db[ROLLED]
        self._active = db[ACTIVE]
        self._positions = db[POSITIONS]

    @translate
    async def roll_up(self, *, now: datetime, limit: int) -> RolledUp:
        """See `StatisticsStore.roll_up`."""
        rows, more_rows = await self._roll_receipts(now, limit)
        events, more_events = await self._roll_events(now, limit)
        return RolledUp(events, rows, done=not (more_rows or more_events))

    @translate
    async def figures(self, span: Span, *, since: datetime, until: datetime) -> list[Figures]:
        """See `StatisticsStore.figures`."""
        names = {"$gte": _name(span, since), "$lt": _name(span, until)}
        documents = await fetch(self._rolled, {"_id": names}, sort=[("_id", ASCENDING)])
        return [_to_figures(document) for document in documents]

    @translate
    async def counted_until(self) -> datetime | None:
        """See `StatisticsStore.counted_until`."""
        found = await self._positions.find_one({"_id": "pass"})
        return found.get("done") if found else None

    # ---- events

    async def _roll_events(self, now: datetime, limit: int) -> tuple[int, bool]:
        """Count what chats hold behind their positions; how many events that were, and whether there are more."""
        state = await self._positions.find_one({"_id": "pass"}) or {}
        began = now
        query: Document = {} if "since" not in state else {"last_at": {"$gte": state["since"] - OVERLAP}}
        total, after = 0, ""
        while total < limit:
            page = {**query, "_id": {"$gt": after}}
            found = await fetch(
                self._db[chats.CHATS], page, {"last_seq": 1}, sort=[("_id", ASCENDING)], limit=CHATS_AT_ONCE
            )
            if not found:
                change = {"$max": {"since": began, "done": began}}
                await self._positions.update_one({"_id": "pass"}, change, upsert=True)
                return total, False
            after = found[-1]["_id"]
            total += await self._roll_chats(found, limit - total)
        return total, True

    async def _roll_chats(self, found: Sequence[Document], limit: int) -> int:
        """Count the new events of some chats, so many of them together that one transaction is worth it."""
        keys = [f"chat/{document['_id']}" for document in found]
        rows = await fetch(self._positions, {"_id": {"$in": keys}})
        at = {row["_id"].removeprefix("chat/"): int(row["seq"]) for row in rows}
        total = 0
        for document in found:
            chat, position = document["_id"], at.get(document["_id"], 0)
            while int(document["last_seq"]) > position and total < limit:
                moved = await self._roll_chat(chat, position)
                if moved == position:
                    break
                total += moved - position
                position = moved
        return total

    async def _roll_chat(self, chat: str, position: int) -> int:
        """Count one stretch of a chat; the new position. A hole ends it: it is filled, or will be."""
        fields = {"seq": 1, "type": 1, "sender_id": 1, "created_at": 1}
        query = {"chat_id": chat, "seq": {"$gt": position}}
        order = [("chat_id", ASCENDING), ("seq", ASCENDING)]
        found = await fetch(self._db[messages.COLLECTION], query, fields, sort=order, limit=ROWS_AT_ONCE)
        tally, reached = Tally(), position
        for document in found:
            if document["seq"] != reached + 1:
                break
            tally.event(document["type"], document["sender_id"], document["created_at"])
            reached += 1
        if reached == position:
            return position
        return (
            reached if await self._commit(tally, f"chat/{chat}", "seq", position or None, Int64(reached)) else position
        )

    # ---- receipts

    async def _roll_receipts(self, now: datetime, limit: int) -> tuple[int, bool]:
        end = ObjectId.from_datetime(now - SETTLED)
        total = 0
        while total < limit:
            state = await self._positions.find_one({"_id": "receipts"})
            position = state["row"] if state else None
            query: Document = {"_id": {"$lt": end} if position is None else {"$gt": position, "$lt": end}}
            rows = await fetch(
                self._db[receipts.COLLECTION], query, sort=[("_id", ASCENDING)], limit=min(ROWS_AT_ONCE, limit)
            )
            if not rows:
                return total, False
            tally = Tally()
            await self._count_receipts(tally, [row for row in rows if row["kind"] == "delivered"])
            if await self._commit(tally, "receipts", "row", position, rows[-1]["_id"]):
                total += len(rows)
        return total, True

    async def _count_receipts(self, tally: Tally, rows: Sequence[Document]) -> None:
        before = await self._marks_before(rows)
        events = await self._events_of(rows)
        for row in rows:
            tally.delivery(row["at"], int(row["seq"]) - before[row["_id"]])
            event = events.get((row["chat_id"], int(row["seq"])))
            if event is not None and event["sender_id"] != row["user_id"]:
                tally.latency(row["at"], row["at"] - event["created_at"])

    async def _marks_before(self, rows: Sequence[Document]) -> dict[ObjectId, int]:
        """Where each mark stood before: the row before it, or where the member joined. The index of `receipts` has both."""
        if not rows:
            return {}
        same = [{"$eq": [f"${name}", f"$${name}"]} for name in ("chat_id", "kind", "user_id")]
        earlier: list[Document] = [
            {"$match": {"$expr": {"$and": [*same, {"$lt": ["$seq", "$$seq"]}]}}},
            {"$sort": {"chat_id": -1, "kind": -1, "user_id": -1, "seq": -1}},
            {"$limit": 1},
            {"$project": {"_id": 0, "seq": 1}},
        ]
        names = {name: f"${name}" for name in ("chat_id", "kind", "user_id", "seq")}
        cursor = await self._db[receipts.COLLECTION].aggregate(
            [
                {"$match": {"_id": {"$in": [row["_id"] for row in rows]}}},
                {"$lookup": {"from": receipts.COLLECTION, "let": names, "pipeline": earlier, "as": "before"}},
                {"$project": {"chat_id": 1, "user_id": 1, "before": 1}},
            ]
        )
        found = await cursor.to_list()
        first = [f"{row['chat_id']}/{row['user_id']}" for row in found if not row["before"]]
        members = await fetch(self._db[chats.MEMBERS], {"_id": {"$in": first}}, {"joined_seq": 1}) if first else []
        joined = {member["_id"]: int(member["joined_seq"]) for member in members}
        return {
            row["_id"]: int(row["before"][0]["seq"])
            if row["before"]
            else joined.get(f"{row['chat_id']}/{row['user_id']}", 0)
            for row in found
        }

    async def _events_of(self, rows: Sequence[Document]) -> dict[tuple[str, int], Document]:
        """The events at which marks stand now."""
        by_chat: dict[str, set[int]] = {}
        for row in rows:
            by_chat.setdefault(row["chat_id"], set()).add(int(row["seq"]))
        if not by_chat:
            return {}
        wanted = [{"chat_id": chat, "seq": {"$in": sorted(seqs)}} for chat, seqs in by_chat.items()]
        fields = {"chat_id": 1, "seq": 1, "sender_id": 1, "created_at": 1}
        found = await fetch(self._db[messages.COLLECTION], {"$or": wanted}, fields)
        return {(document["chat_id"], int(document["seq"])): document for document in found}

    # ---- the count

    async def _commit(self, tally: Tally, key: str, field: str, was: Any, now: Any) -> bool:
        """Add a tally and move the position that it stands for, both or neither. False: somebody else has counted it."""

        async def all_of_it(session: AsyncClientSession) -> None:
            if was is None:
                await self._positions.insert_one({"_id": key, field: now}, session=session)
            else:
                moved = await self._positions.update_one(
                    {"_id": key, field: was}, {"$set": {field: now}}, session=session
                )
                if not moved.matched_count:
                    raise _Moved
            await self._add(tally, session)

        try:
            with pymongo.timeout(OPERATION_MS / 1000):
                async with self._db.client.start_session() as session:
                    await session.with_transaction(all_of_it)
        except (_Moved, DuplicateKeyError):
            return False
        return True

    async def _add(self, tally: Tally, session: AsyncClientSession) -> None:
        active = {span: await self._new_users(tally, span, session) for span in Span}
        sums: dict[str, Document] = {}
        begins: dict[str, datetime] = {}
        for span in Span:
            for hour in tally.hours() | set(tally.users):
                name = _name(span, hour)
                begins[name] = span.begin(hour)
                added = sums.setdefault(name, {})
                _plus(added, "messages", tally.messages[hour])
                _plus(added, "deliveries", tally.deliveries[hour])
                for bucket, count in tally.latencies.get(hour, {}).items():
                    _plus(added, f"latencies.{bucket}", count)
            for name, count in active[span].items():
                _plus(sums[name], "active_users", count)
        changes = [
            UpdateOne({"_id": name}, {"$inc": added, "$setOnInsert": {"at": begins[name]}}, upsert=True)
            for name, added in sums.items()
            if added
        ]
        if changes:
            await self._rolled.bulk_write(changes, ordered=False, session=session)

    async def _new_users(self, tally: Tally, span: Span, session: AsyncClientSession) -> dict[str, int]:
        """How many of the users were not yet active in each span."""
        wanted = {
            f"{_name(span, hour)}/{user}": span.begin(hour) for hour, users in tally.users.items() for user in users
        }
        if not wanted:
            return {}
        known = await _ids(self._active, list(wanted), session)
        fresh = {key: at for key, at in wanted.items() if key not in known}
        if fresh:
            await self._active.insert_many([{"_id": key, "at": at} for key, at in fresh.items()], session=session)
        counts: dict[str, int] = {}
        for key in fresh:
            name = key.partition("/")[0]
            counts[name] = counts.get(name, 0) + 1
        return counts


async def _ids(collection: Collection, ids: Sequence[str], session: AsyncClientSession) -> set[str]:
    cursor = collection.find({"_id": {"$in": ids}}, {"_id": 1}, session=session, batch_size=len(ids))
    return {document["_id"] for document in await cursor.to_list()}


def _name(span: Span, at: datetime) -> str:
    return span.begin(at).strftime(_NAMES[span])


def _plus(added: Document, field: str, count: int) -> None:
    if count:
        added[field] = Int64(added.get(field, 0) + count)


def _to_figures(document: Document) -> Figures:
    buckets = document.get("latencies", {})
    return Figures(
        begin=document["at"],
        messages=int(document.get("messages", 0)),
        active_users=int(document.get("active_users", 0)),
        deliveries=int(document.get("deliveries", 0)),
        latencies=[int(buckets.get(str(bucket), 0)) for bucket in range(len(BOUNDS_MS))],
    )
