"""Collection `push_tokens`: one document per installation that pushes reach.

`_id` the token (FCM's registration id; of a browser's own subscription a hash of its endpoint) · `user_id`, `platform` string · `updated_at`
date · `data_only` bool? (absent: no) · `subscription` {`endpoint`, `p256dh`, `auth`, `key`}? · `held_until` date? · `failures` int? (absent: 0)

| index | for |
|---|---|
| `(user_id, _id)` | the tokens of users, by token |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from pymongo import ASCENDING, IndexModel

from adapters.mongo.client import Database, Document, fetch, translate
from chat.models import PushToken, Subscription

COLLECTION = "push_tokens"
INDEXES = [IndexModel([("user_id", ASCENDING), ("_id", ASCENDING)])]


class MongoPushTokens:
    """`PushTokenStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._tokens = db[COLLECTION]

    @translate
    async def put(self, token: PushToken) -> None:
        """See `PushTokenStore.put`."""
        known: Document = {"user_id": token.user, "platform": token.platform, "updated_at": token.updated_at}
        gone: Document = {}
        for name, value in (("data_only", token.data_only or None), ("subscription", token.subscription)):
            if value is None:
                gone[name] = ""
            else:
                known[name] = msgspec.to_builtins(value)
        change = {"$set": known, "$unset": gone} if gone else {"$set": known}
        await self._tokens.update_one({"_id": token.token}, change, upsert=True)

    @translate
    async def of_users(self, users: Sequence[str]) -> dict[str, list[PushToken]]:
        """See `PushTokenStore.of_users`: by token; users without one are absent."""
        found: dict[str, list[PushToken]] = {}
        if not users:
            return found
        query = {"user_id": {"$in": list(users)}}
        for document in await fetch(self._tokens, query, sort=[("user_id", ASCENDING), ("_id", ASCENDING)]):
            token = _token(document)
            found.setdefault(token.user, []).append(token)
        return found

    @translate
    async def held(self, tokens: Sequence[str]) -> dict[str, datetime]:
        """See `PushTokenStore.held`."""
        if not tokens:
            return {}
        query = {"_id": {"$in": list(tokens)}, "held_until": {"$exists": True}}
        rows = await fetch(self._tokens, query, {"held_until": 1})
        return {row["_id"]: row["held_until"] for row in rows}

    @translate
    async def hold(self, token: str, *, until: datetime | None, failures: int) -> None:
        """See `PushTokenStore.hold`."""
        change: Document = {"$set": {"held_until": until, "failures": failures}}
        if until is None:
            change = {"$unset": {"held_until": "", "failures": ""}}
        await self._tokens.update_one({"_id": token}, change)

    @translate
    async def drop(self, token: str) -> None:
        """See `PushTokenStore.drop`."""
        await self._tokens.delete_one({"_id": token})


def _token(document: Document) -> PushToken:
    subscription = document.get("subscription")
    return PushToken(
        token=document["_id"],
        user=document["user_id"],
        platform=document["platform"],
        updated_at=document["updated_at"],
        data_only=document.get("data_only", False),
        subscription=None if subscription is None else Subscription(**subscription),
        held_until=document.get("held_until"),
        failures=int(document.get("failures", 0)),
    )
