"""Collection `push_tokens`: `_id` the token (FCM's registration id) · `user_id` string · `platform` string · `updated_at` date.

| index | for |
|---|---|
| `(user_id, _id)` | the tokens of users, by token |
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Database, fetch, translate
from chat.models import PushToken

COLLECTION = "push_tokens"
INDEXES = [IndexModel([("user_id", ASCENDING), ("_id", ASCENDING)])]


class MongoPushTokens:
    """`PushTokenStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._tokens = db[COLLECTION]

    @translate
    async def put(self, token: PushToken) -> None:
        """See `PushTokenStore.put`."""
        await self._tokens.replace_one(
            {"_id": token.token},
            {"user_id": token.user, "platform": token.platform, "updated_at": token.updated_at},
            upsert=True,
        )

    @translate
    async def of_users(self, users: Sequence[str]) -> dict[str, list[PushToken]]:
        """See `PushTokenStore.of_users`: by token; users without one are absent."""
        found: dict[str, list[PushToken]] = {}
        if not users:
            return found
        query = {"user_id": {"$in": list(users)}}
        for document in await fetch(self._tokens, query, sort=[("user_id", ASCENDING), ("_id", ASCENDING)]):
            token = PushToken(
                token=document["_id"],
                user=document["user_id"],
                platform=document["platform"],
                updated_at=document["updated_at"],
            )
            found.setdefault(token.user, []).append(token)
        return found

    @translate
    async def drop(self, token: str) -> None:
        """See `PushTokenStore.drop`."""
        await self._tokens.delete_one({"_id": token})
