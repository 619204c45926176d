"""Collection `second_factors`: what users have beside their passwords.

`_id` user · `sealed` string, the TOTP secret, sealed (`adapters.sealing`) · `created_at` date · `confirmed` bool · `step` long, the last time
step that was used · `recovery` [string], SHA-256 (hex) of the recovery codes that are left. No index but `_id`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, Document, translate
from chat.models import SecondFactor

COLLECTION = "second_factors"


class MongoSecondFactors:
    """`SecondFactorStore` on the collection above; each method is one atomic write."""

    def __init__(self, db: Database) -> None:
        self._factors = db[COLLECTION]

    @translate
    async def get(self, user: str) -> SecondFactor | None:
        """See `SecondFactorStore.get`."""
        document = await self._factors.find_one({"_id": user})
        if document is None:
            return None
        return SecondFactor(
            user=document["_id"],
            sealed=document["sealed"],
            created_at=document["created_at"],
            confirmed=document["confirmed"],
            step=document["step"],
            recovery=document["recovery"],
        )

    @translate
    async def begin(self, factor: SecondFactor) -> bool:
        """See `SecondFactorStore.begin`."""
        document: Document = {
            "sealed": factor.sealed,
            "created_at": factor.created_at,
            "confirmed": factor.confirmed,
            "step": factor.step,
            "recovery": factor.recovery,
        }
        try:  # a confirmed one does not match, and its id is taken
            await self._factors.replace_one({"_id": factor.user, "confirmed": False}, document, upsert=True)
        except DuplicateKeyError:
            return False
        return True

    @translate
    async def confirm(self, user: str, *, step: int, recovery: Sequence[str]) -> bool:
        """See `SecondFactorStore.confirm`."""
        changes = {"confirmed": True, "step": step, "recovery": list(recovery)}
        result = await self._factors.update_one({"_id": user, "confirmed": False}, {"$set": changes})
        return bool(result.matched_count)

    @translate
    async def use_step(self, user: str, step: int) -> bool:
        """See `SecondFactorStore.use_step`."""
        query = {"_id": user, "confirmed": True, "step": {"$lt": step}}
        return bool((await self._factors.update_one(query, {"$set": {"step": step}})).matched_count)

    @translate
    async def use_recovery(self, user: str, code_hash: str) -> bool:
        """See `SecondFactorStore.use_recovery`."""
        query = {"_id": user, "confirmed": True, "recovery": code_hash}
        return bool((await self._factors.update_one(query, {"$pull": {"recovery": code_hash}})).matched_count)

    @translate
    async def remove(self, user: str) -> bool:
        """See `SecondFactorStore.remove`."""
        return bool((await self._factors.delete_one({"_id": user})).deleted_count)
