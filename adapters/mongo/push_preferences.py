"""Collection `push_preferences`: what users want of pushes, one document per user who has said something.

`_id` handle · `shows` string (`text`, `sender`, `nothing`) · `mentions` bool · `quiet` {`start`, `end`, `zone`}?

No index but `_id`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adapters.mongo.client import Database, Document, fetch, translate
from chat.push_preferences import PushPreferences, QuietHours, Shows

COLLECTION = "push_preferences"


class MongoPushPreferences:
    """`PushPreferenceStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._preferences = db[COLLECTION]

    @translate
    async def put(self, preferences: PushPreferences) -> None:
        """See `PushPreferenceStore.put`."""
        document: Document = {"shows": preferences.shows.value, "mentions": preferences.mentions}
        if preferences.quiet is not None:
            document["quiet"] = msgspec.structs.asdict(preferences.quiet)
        await self._preferences.replace_one({"_id": preferences.user}, document, upsert=True)

    @translate
    async def of_users(self, users: Sequence[str]) -> dict[str, PushPreferences]:
        """See `PushPreferenceStore.of_users`."""
        if not users:
            return {}
        rows = await fetch(self._preferences, {"_id": {"$in": list(users)}})
        return {row["_id"]: _preferences(row) for row in rows}


def _preferences(row: Document) -> PushPreferences:
    quiet = row.get("quiet")
    return PushPreferences(
        row["_id"], Shows(row["shows"]), row["mentions"], None if quiet is None else QuietHours(**quiet)
    )
