"""Collection `service_accounts`: programs that administrators have let in.

`_id` client id (`svc-…`) · `name` string · `scopes` [string] · `secret_hash` string (SHA-256, hex) · `created_at` date · `created_by`
string, the administrator. No index but `_id`.
"""

from __future__ import annotations

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, Document, fetch, translate
from chat.models import ServiceAccount

COLLECTION = "service_accounts"


class MongoServiceAccounts:
    """`ServiceAccountStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._accounts = db[COLLECTION]

    @translate
    async def add(self, account: ServiceAccount) -> bool:
        """See `ServiceAccountStore.add`."""
        try:
            await self._accounts.insert_one(
                {
                    "_id": account.id,
                    "name": account.name,
                    "scopes": account.scopes,
                    "secret_hash": account.secret_hash,
                    "created_at": account.created_at,
                    "created_by": account.created_by,
                }
            )
        except DuplicateKeyError:
            return False
        return True

    @translate
    async def get(self, account: str) -> ServiceAccount | None:
        """See `ServiceAccountStore.get`."""
        document = await self._accounts.find_one({"_id": account})
        return None if document is None else _to_account(document)

    @translate
    async def page(self, *, after: str = "", limit: int = 50) -> list[ServiceAccount]:
        """See `ServiceAccountStore.page`."""
        found = await fetch(self._accounts, {"_id": {"$gt": after}}, sort=[("_id", ASCENDING)], limit=limit)
        return [_to_account(document) for document in found]

    @translate
    async def set_secret(self, account: str, secret_hash: str) -> bool:
        """See `ServiceAccountStore.set_secret`."""
        result = await self._accounts.update_one({"_id": account}, {"$set": {"secret_hash": secret_hash}})
        return bool(result.matched_count)

    @translate
    async def remove(self, account: str) -> bool:
        """See `ServiceAccountStore.remove`."""
        return bool((await self._accounts.delete_one({"_id": account})).deleted_count)


def _to_account(document: Document) -> ServiceAccount:
    return ServiceAccount(
        id=document["_id"],
        name=document["name"],
        scopes=document["scopes"],
        secret_hash=document["secret_hash"],
        created_at=document["created_at"],
        created_by=document["created_by"],
    )
