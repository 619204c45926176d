"""Collection `dead_letters`: one document per message that could not be processed.

| field | type | meaning |
|---|---|---|
| `_id` | string | letter id |
| `topic` | string | where it came in |
| `payload` | binary | as it came in |
| `reason` | string | why it could not be processed |
| `tries` | int | how often that was tried |
| `at` | date | when it was parked |
| `properties` | [[string, string]] | MQTT 5 user properties: pairs, because their names may hold `$` and dots |

No index but `_id`: letters are read page by page, by id.
"""

from __future__ import annotations

from pymongo import ASCENDING

from adapters.mongo.client import Database, fetch, translate
from chat.models import DeadLetter

COLLECTION = "dead_letters"


class MongoDeadLetters:
    """`DeadLetterStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._letters = db[COLLECTION]

    @translate
    async def add(self, letter: DeadLetter) -> None:
        """See `DeadLetterStore.add`."""
        await self._letters.replace_one(
            {"_id": letter.id},
            {
                "topic": letter.topic,
                "payload": letter.payload,
                "reason": letter.reason,
                "tries": letter.tries,
                "at": letter.at,
                "properties": [[name, value] for name, value in letter.properties.items()],
            },
            upsert=True,
        )

    @translate
    async def page(self, *, after: str = "", limit: int = 50) -> list[DeadLetter]:
        """See `DeadLetterStore.page`."""
        documents = await fetch(self._letters, {"_id": {"$gt": after}}, sort=[("_id", ASCENDING)], limit=limit)
        return [
            DeadLetter(
                id=document["_id"],
                topic=document["topic"],
                payload=document["payload"],
                reason=document["reason"],
                tries=int(document["tries"]),
                at=document["at"],
                properties=dict(document["properties"]),
            )
            for document in documents
        ]
