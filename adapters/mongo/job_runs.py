"""Collection `job_runs`: one document per regular job.

| field | type | meaning |
|---|---|---|
| `_id` | string | the job's name |
| `at` | date? | when it last did its work to the end |
| `rows`, `seconds` | int?, double? | how much that was, and how long it took |
| `position` | string? | where it goes on |

No index but `_id`.
"""

from __future__ import annotations

from datetime import datetime

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, Document, fetch, translate
from chat.background import JobRun

COLLECTION = "job_runs"


class MongoJobRuns:
    """`JobRunStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._runs = db[COLLECTION]

    @translate
    async def ran(self, job: str, *, at: datetime, rows: int, seconds: float) -> None:
        """See `JobRunStore.ran`. An older time finds no document to change, and its insert one that is there."""
        older = {"_id": job, "$or": [{"at": None}, {"at": {"$lte": at}}]}
        try:
            await self._runs.update_one(older, {"$set": {"at": at, "rows": rows, "seconds": seconds}}, upsert=True)
        except DuplicateKeyError:
            return

    @translate
    async def move(self, job: str, position: str) -> None:
        """See `JobRunStore.move`."""
        await self._runs.update_one({"_id": job}, {"$set": {"position": position}}, upsert=True)

    @translate
    async def get(self, job: str) -> JobRun:
        """See `JobRunStore.get`."""
        found = await self._runs.find_one({"_id": job})
        return JobRun(job) if found is None else _run(found)

    @translate
    async def all(self) -> list[JobRun]:
        """See `JobRunStore.all`."""
        return [_run(document) for document in await fetch(self._runs, {}, sort=[("_id", ASCENDING)])]


def _run(document: Document) -> JobRun:
    return JobRun(
        job=document["_id"],
        at=document.get("at"),
        rows=int(document.get("rows", 0)),
        seconds=float(document.get("seconds", 0.0)),
        position=document.get("position", ""),
    )
