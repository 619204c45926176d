"""Collection `idempotency`: one document per idempotency key that was used.

| field | type | meaning |
|---|---|---|
| `_id` | string | SHA-256 of whose it is and the key, hex |
| `fingerprint` | string | SHA-256 of the request, hex |
| `seed` | binary | 256 random bits; empty once there is an answer |
| `lease` | date | until then an attempt is under way |
| `answer` | binary? | the answer, encrypted with the key that only the client has (`api/idempotency.py`) |
| `expires_at` | date | when it is forgotten |

| index | for |
|---|---|
| TTL `expires_at` | bounds the collection |
"""

from __future__ import annotations

from datetime import UTC, datetime

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, Document, translate
from chat.errors import Unavailable
from chat.idempotency import Attempt

COLLECTION = "idempotency"
INDEXES = [IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=0)]

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_TRIES = 3
"""A key that is forgotten while it is looked at is taken in the next try."""


class MongoIdempotency:
    """`IdempotencyStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._keys = db[COLLECTION]

    @translate
    async def begin(
        self, key: str, *, fingerprint: str, seed: bytes, now: datetime, lease: datetime, expires_at: datetime
    ) -> Attempt:
        """See `IdempotencyStore.begin`."""
        fresh = {"_id": key, "fingerprint": fingerprint, "seed": seed, "lease": lease, "expires_at": expires_at}
        for _ in range(_TRIES):
            try:
                await self._keys.insert_one(fresh)
            except DuplicateKeyError:
                found = await self._keys.find_one({"_id": key})
            else:
                return Attempt(fingerprint, seed, mine=True)
            if found is not None and found["expires_at"] > now:
                return await self._known(found, fingerprint, now, lease)
            await self._keys.delete_one({"_id": key, "expires_at": {"$lte": now}})
        raise Unavailable("an idempotency key comes and goes")

    async def _known(self, found: Document, fingerprint: str, now: datetime, lease: datetime) -> Attempt:
        kept, answer = found["fingerprint"], found.get("answer")
        mine = False
        if answer is None and found["lease"] <= now and kept == fingerprint:
            # Of those who find a lease that has ended one goes on.
            ended = {"_id": found["_id"], "lease": found["lease"], "answer": None}
            result = await self._keys.update_one(ended, {"$set": {"lease": lease}})
            mine = bool(result.modified_count)
        return Attempt(kept, bytes(found["seed"]), mine=mine, resumed=mine, answer=answer and bytes(answer))

    @translate
    async def finish(self, key: str, answer: bytes) -> None:
        """See `IdempotencyStore.finish`."""
        await self._keys.update_one({"_id": key}, {"$set": {"answer": answer, "seed": b""}})

    @translate
    async def release(self, key: str) -> None:
        """See `IdempotencyStore.release`."""
        await self._keys.update_one({"_id": key}, {"$set": {"lease": _EVER}})

    @translate
    async def drop(self, key: str) -> None:
        """See `IdempotencyStore.drop`."""
        await self._keys.delete_one({"_id": key, "answer": None})
