"""Collection `dead_letters`: one document per message or background job that could not be processed.

| field | type | meaning |
|---|---|---|
| `_id` | string | letter id |
| `topic` | string | where it came in |
| `payload` | binary | as it came in |
| `reason` | string | why it could not be processed |
| `tries` | int | how often that was tried |
| `at` | date | when it was parked |
| `properties` | [[string, string]] | MQTT 5 user properties: pairs, because their names may hold `$` and dots |
| `content_type` | string? | MQTT 5 content type |
| `kind` | string? | `message`, `push`, `job`; absent: `message` |
| `job`, `args` | string?, [string]? | the job that a replay sends |
| `history` | [{`at`, `what`, `detail`, `by`}] | what was done with it, oldest first, bounded |

No index but `_id`: letters are read page by page, by id.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING

from adapters.mongo.client import Database, Document, fetch, translate
from chat.models import DeadLetter, LetterEvent
from chat.ports import MAX_LETTER_HISTORY

COLLECTION = "dead_letters"

MAX_COUNTED = 100_000
"""Letters that are counted: with more of them the exact number is no news."""


class MongoDeadLetters:
    """`DeadLetterStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._letters = db[COLLECTION]

    @translate
    async def add(self, letter: DeadLetter) -> None:
        """See `DeadLetterStore.add`."""
        parked = LetterEvent(letter.at, "parked", letter.reason)
        await self._letters.update_one(
            {"_id": letter.id},
            {
                "$set": {
                    "topic": letter.topic,
                    "payload": letter.payload,
                    "reason": letter.reason,
                    "tries": letter.tries,
                    "at": letter.at,
                    "properties": [[name, value] for name, value in letter.properties.items()],
                    "content_type": letter.content_type,
                    "kind": letter.kind,
                    "job": letter.job,
                    "args": letter.args,
                },
                **_noted(parked),
            },
            upsert=True,
        )

    @translate
    async def get(self, letter_id: str) -> DeadLetter | None:
        """See `DeadLetterStore.get`."""
        found = await self._letters.find_one({"_id": letter_id})
        return _letter(found) if found else None

    @translate
    async def among(self, letter_ids: Sequence[str]) -> set[str]:
        """See `DeadLetterStore.among`."""
        if not letter_ids:
            return set()
        rows = await fetch(self._letters, {"_id": {"$in": list(letter_ids)}}, {"_id": 1})
        return {row["_id"] for row in rows}

    @translate
    async def note(self, letter_id: str, event: LetterEvent) -> bool:
        """See `DeadLetterStore.note`."""
        result = await self._letters.update_one({"_id": letter_id}, _noted(event))
        return result.matched_count > 0

    @translate
    async def drop(self, letter_id: str) -> bool:
        """See `DeadLetterStore.drop`."""
        result = await self._letters.delete_one({"_id": letter_id})
        return result.deleted_count > 0

    @translate
    async def counts(self) -> dict[str, int]:
        """See `DeadLetterStore.counts`."""
        kind = {"$ifNull": ["$kind", "message"]}
        cursor = await self._letters.aggregate(
            [{"$limit": MAX_COUNTED}, {"$project": {"kind": kind}}, {"$sortByCount": "$kind"}]
        )
        return {document["_id"]: int(document["count"]) for document in await cursor.to_list()}

    @translate
    async def page(self, *, after: str = "", limit: int = 50) -> list[DeadLetter]:
        """See `DeadLetterStore.page`."""
        documents = await fetch(self._letters, {"_id": {"$gt": after}}, sort=[("_id", ASCENDING)], limit=limit)
        return [_letter(document) for document in documents]


def _noted(event: LetterEvent) -> Document:
    line = {"at": event.at, "what": event.what, "detail": event.detail, "by": event.by}
    return {"$push": {"history": {"$each": [line], "$slice": -MAX_LETTER_HISTORY}}}


def _letter(document: Document) -> DeadLetter:
    return DeadLetter(
        id=document["_id"],
        topic=document["topic"],
        payload=document["payload"],
        reason=document["reason"],
        tries=int(document["tries"]),
        at=document["at"],
        properties=dict(document["properties"]),
        content_type=document.get("content_type"),
        history=[LetterEvent(**line) for line in document.get("history", ())],
        kind=document.get("kind", "message"),
        job=document.get("job"),
        args=document.get("args", []),
    )
