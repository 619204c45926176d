"""Collection `refresh_tokens`: one document per sign-in (a family of refresh tokens).

| field | type | meaning |
|---|---|---|
| `_id` | string | `sid` |
| `user_id` | string | |
| `current` | string | SHA-256 (hex) of the refresh token that is valid now |
| `previous` | [string] | SHA-256 of the newest `SPENT_TOKENS_KEPT` spent ones: one of them shown again is a theft |
| `created_at`, `expires_at` | date | |
| `revoked_at` | date? | |
| `via` | string? | how they signed in; absent: `password` |
| `client`, `address` | string? | which program, and from where it was last refreshed |
| `used_at` | date? | when it was made or last refreshed |

| index | for |
|---|---|
| unique `current` | a token that is shown |
| `previous` | a spent token that is shown |
| `(user_id, used_at)` | the sign-ins of a user, the last used first |
| TTL `expires_at`, a week | forgets sign-ins that ended |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, Document, fetch, translate
from chat.errors import Conflict
from chat.models import SPENT_TOKENS_KEPT, Grant

COLLECTION = "refresh_tokens"
KEPT_SECONDS = 7 * 86_400
INDEXES = [
    IndexModel([("current", ASCENDING)], unique=True),
    IndexModel([("previous", ASCENDING)]),
    IndexModel([("user_id", ASCENDING), ("used_at", DESCENDING)]),
    IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=KEPT_SECONDS),
]


class MongoGrants:
    """`GrantStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._grants = db[COLLECTION]

    @translate
    async def add(self, grant: Grant) -> None:
        """See `GrantStore.add`.

        Raises:
            Conflict: the `sid` or the token is in use.
        """
        try:
            await self._grants.insert_one(_from_grant(grant))
        except DuplicateKeyError:
            raise Conflict("this sign-in exists already", code="grant_taken") from None

    @translate
    async def by_token(self, token_hash: str) -> Grant | None:
        """See `GrantStore.by_token`."""
        document = await self._grants.find_one({"$or": [{"current": token_hash}, {"previous": token_hash}]})
        return None if document is None else _to_grant(document)

    @translate
    async def get(self, sid: str) -> Grant | None:
        """See `GrantStore.get`."""
        document = await self._grants.find_one({"_id": sid})
        return None if document is None else _to_grant(document)

    @translate
    async def rotate(
        self, sid: str, *, spent: str, fresh: str, expires_at: datetime, at: datetime, address: str
    ) -> bool:
        """See `GrantStore.rotate`: one atomic update, so of two who show the same token one is refused."""
        result = await self._grants.update_one(
            {"_id": sid, "current": spent, **alive()},
            {
                "$set": {"current": fresh, "expires_at": expires_at, "used_at": at, "address": address},
                "$push": {"previous": {"$each": [spent], "$slice": -SPENT_TOKENS_KEPT}},
            },
        )
        return bool(result.matched_count)

    @translate
    async def revoke(self, sid: str, at: datetime) -> None:
        """See `GrantStore.revoke`; a second one changes nothing."""
        await self._grants.update_one({"_id": sid, "revoked_at": None}, {"$set": {"revoked_at": at}})

    @translate
    async def revoke_all(self, user: str, at: datetime, *, keep: str | None = None) -> list[str]:
        """See `GrantStore.revoke_all`. Two updates at once name a sign-in both; it ends once."""
        found = await fetch(self._grants, {"user_id": user, "_id": {"$ne": keep}, **alive()}, {"_id": 1})
        sids = [document["_id"] for document in found]
        if sids:
            await self._grants.update_many({"_id": {"$in": sids}, "revoked_at": None}, {"$set": {"revoked_at": at}})
        return sids

    @translate
    async def of_user(self, user: str, *, skip: int = 0, limit: int) -> list[Grant]:
        """See `GrantStore.of_user`."""
        cursor = self._grants.find({"user_id": user, **alive()}, sort=[("used_at", DESCENDING)], skip=skip, limit=limit)
        return [_to_grant(document) for document in await cursor.to_list()]

    @translate
    async def alive(self, sids: Sequence[str]) -> set[str]:
        """See `GrantStore.alive`."""
        if not sids:
            return set()
        documents = await fetch(self._grants, {"_id": {"$in": list(sids)}, **alive()}, {"_id": 1})
        return {document["_id"] for document in documents}


def alive() -> Document:
    """The condition that a sign-in has not ended."""
    return {"revoked_at": None, "expires_at": {"$gt": datetime.now(UTC)}}


def _from_grant(grant: Grant) -> Document:
    document: Document = {
        "_id": grant.sid,
        "user_id": grant.user,
        "current": grant.current,
        "previous": grant.previous,
        "created_at": grant.created_at,
        "expires_at": grant.expires_at,
        "via": grant.via,
        "client": grant.client,
        "address": grant.address,
        "used_at": grant.used_at,
    }
    if grant.revoked_at is not None:
        document["revoked_at"] = grant.revoked_at
    return document


def _to_grant(document: Document) -> Grant:
    return Grant(
        sid=document["_id"],
        user=document["user_id"],
        current=document["current"],
        previous=document["previous"],
        created_at=document["created_at"],
        expires_at=document["expires_at"],
        revoked_at=document.get("revoked_at"),
        via=document.get("via", "password"),
        client=document.get("client", ""),
        address=document.get("address", ""),
        used_at=document.get("used_at"),
    )
