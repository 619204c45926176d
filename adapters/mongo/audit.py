"""Collections `audit` and `audit_head`: the audit log, a chain of hashes (`chat.audit`).

`audit`: one document per record. There is no update and no delete in this file, and none is to come.

| field | type | meaning |
|---|---|---|
| `_id` | long | `seq`, dense from 1: the fence that keeps the chain one |
| `previous`, `hash` | string | SHA-256, hex: of the record before, and of this one |
| `at` | date | |
| `action`, `by`, `target`, `reason`, `address`, `request` | string | |
| `details` | [[string, string]] | pairs, because names may hold `$` and dots |

| index | for |
|---|---|
| `(by, _id)`, `(target, _id)`, `(action, _id)` | what somebody did, what was done to somebody, what was done of a kind, newest first |
| `(at)` | what was done in a time |

`audit_head`: one document, `_id` `head` · `seq` · `hash`: the newest record when it was written. It shows that the end of the chain was
cut off. It follows the record, so a crash leaves it behind (which says nothing), never ahead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bson.int64 import Int64
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError

from adapters.backoff import Backoff
from adapters.mongo.client import Database, Document, fetch, translate
from chat.audit import Anchor, AuditEntry, AuditRecord, AuditSearch, seal
from chat.errors import Unavailable

COLLECTION = "audit"
HEAD = "audit_head"
INDEXES = [
    IndexModel([("by", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("target", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("action", ASCENDING), ("_id", DESCENDING)]),
    IndexModel([("at", ASCENDING)]),
]

_TRIES = 60
"""Of one record against other processes that write at the same moment; each try that fails is somebody else's success."""

_TOGETHER = 500
"""Records of one write."""

_DUPLICATE = 11000

_PAUSE = 0.004
"""Seconds: about a majority write, until which another's record can't be read."""

_HEAD_ID = "head"


class MongoAudit:
    """`Audit` on the collections above."""

    def __init__(self, db: Database) -> None:
        self._records = db[COLLECTION]
        self._head = db[HEAD]
        self._turn = asyncio.Lock()
        """One after the other within this process: they would only take each other's places."""

    async def record(self, entry: AuditEntry) -> AuditRecord:
        """See `Audit.record`."""
        (record,) = await self.record_all([entry])
        return record

    @translate
    async def record_all(self, entries: Sequence[AuditEntry]) -> list[AuditRecord]:
        """See `Audit.record_all`."""
        written: list[AuditRecord] = []
        async with self._turn:
            backoff = Backoff(first=_PAUSE, most=20 * _PAUSE)
            for _ in range(_TRIES + len(entries) // _TOGETHER):
                left = entries[len(written) :][:_TOGETHER]
                if not left:
                    break
                stored = await self._append(left)
                written += stored
                if len(stored) < len(left):
                    await asyncio.sleep(backoff.next())
            if written:
                await self._head.update_one({"_id": _HEAD_ID}, [_raised(written[-1])], upsert=True)
        if len(written) < len(entries):
            raise Unavailable("the audit log is written by too many at once")
        return written

    async def _append(self, entries: Sequence[AuditEntry]) -> list[AuditRecord]:
        """Those that found their places: fewer than all when somebody else took one."""
        behind, records = await self._end(), list[AuditRecord]()
        for entry in entries:
            records.append(seal(entry, behind))
            behind = Anchor(records[-1].seq, records[-1].hash)
        try:
            # In their order: it ends at the first that fails.
            await self._records.insert_many([_from_record(record) for record in records])
        except BulkWriteError as error:
            if any(fault["code"] != _DUPLICATE for fault in error.details["writeErrors"]):
                raise
            return records[: error.details["nInserted"]]
        return records

    async def _end(self) -> Anchor:
        """Where the chain goes on. The note is read first, so it is ahead of the records only when their end was cut off: then the next
        one follows the note, and the gap stays for everybody to see.
        """
        noted = await self.head()
        newest = await fetch(self._records, {}, {"hash": 1}, sort=[("_id", DESCENDING)], limit=1)
        stored = Anchor(int(newest[0]["_id"]), newest[0]["hash"]) if newest else Anchor()
        return stored if stored.seq >= noted.seq else noted

    @translate
    async def search(self, search: AuditSearch, *, before: int | None = None, limit: int = 50) -> list[AuditRecord]:
        """See `Audit.search`."""
        query: Document = {} if before is None else {"_id": {"$lt": Int64(before)}}
        query |= {name: value for name, value in (("by", search.by), ("target", search.target)) if value is not None}
        if search.action is not None:
            query["action"] = _family(search.action) if search.action.endswith(".") else search.action
        times: Document = {}
        if search.since is not None:
            times["$gte"] = search.since
        if search.until is not None:
            times["$lt"] = search.until
        if times:
            query["at"] = times
        found = await fetch(self._records, query, sort=[("_id", DESCENDING)], limit=limit)
        return [_to_record(document) for document in found]

    @translate
    async def after(self, seq: int, limit: int) -> list[AuditRecord]:
        """See `Audit.after`."""
        found = await fetch(self._records, {"_id": {"$gt": Int64(seq)}}, sort=[("_id", ASCENDING)], limit=limit)
        return [_to_record(document) for document in found]

    @translate
    async def head(self) -> Anchor:
        """See `Audit.head`."""
        found = await self._head.find_one({"_id": _HEAD_ID})
        return Anchor(int(found["seq"]), found["hash"]) if found else Anchor()


def _raised(record: AuditRecord) -> Document:
    """An update that never goes back: another process may have written a newer record meanwhile."""
    newer = {"$gt": [Int64(record.seq), {"$ifNull": ["$seq", Int64(0)]}]}
    return {
        "$set": {
            "hash": {"$cond": [newer, record.hash, "$hash"]},
            "seq": {"$cond": [newer, Int64(record.seq), "$seq"]},
        }
    }


def _family(prefix: str) -> Document:
    """A range, which an index answers."""
    return {"$gte": prefix, "$lt": prefix[:-1] + chr(ord(prefix[-1]) + 1)}


def _from_record(record: AuditRecord) -> Document:
    return {
        "_id": Int64(record.seq),
        "previous": record.previous,
        "hash": record.hash,
        "at": record.at,
        "action": record.action,
        "by": record.by,
        "target": record.target,
        "reason": record.reason,
        "address": record.address,
        "request": record.request,
        "details": [[name, value] for name, value in record.details.items()],
    }


def _to_record(document: dict[str, Any]) -> AuditRecord:
    """The record as it stands there, whatever somebody has made of it: `chat.audit.fault` is to see it."""
    return AuditRecord(
        seq=int(document["_id"]),
        previous=document.get("previous", ""),
        hash=document.get("hash", ""),
        at=document["at"],
        action=document.get("action", ""),
        by=document.get("by", ""),
        target=document.get("target", ""),
        reason=document.get("reason", ""),
        address=document.get("address", ""),
        request=document.get("request", ""),
        details={str(name): str(value) for name, value in document.get("details", ())},
    )
