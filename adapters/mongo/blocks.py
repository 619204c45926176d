"""Collection `blocks`: who wants to hear nothing from whom, one document per pair.

`_id` string, `{owner_id}/{user_id}` (neither can hold a slash) · `owner_id`, `user_id` string · `at` date.

| index | for |
|---|---|
| `(owner_id, user_id)` | whom a user has blocked, page by page |
"""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, fetch, translate
from chat.people import Block
from chat.people_stores import Pair

COLLECTION = "blocks"
INDEXES = [IndexModel([("owner_id", ASCENDING), ("user_id", ASCENDING)])]


class MongoBlocks:
    """`BlockStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._blocks = db[COLLECTION]

    @translate
    async def put(self, block: Block) -> bool:
        """See `BlockStore.put`."""
        key = _key(block.owner, block.user)
        try:
            await self._blocks.insert_one({"_id": key, "owner_id": block.owner, "user_id": block.user, "at": block.at})
        except DuplicateKeyError:
            return False
        return True

    @translate
    async def drop(self, owner: str, user: str) -> bool:
        """See `BlockStore.drop`."""
        return bool((await self._blocks.delete_one({"_id": _key(owner, user)})).deleted_count)

    @translate
    async def page(self, owner: str, *, after: str = "", limit: int) -> list[Block]:
        """See `BlockStore.page`."""
        query = {"owner_id": owner, "user_id": {"$gt": after}}
        rows = await fetch(self._blocks, query, sort=[("user_id", ASCENDING)], limit=limit)
        return [Block(row["owner_id"], row["user_id"], row["at"]) for row in rows]

    @translate
    async def count(self, owner: str) -> int:
        """See `BlockStore.count`."""
        return await self._blocks.count_documents({"owner_id": owner})

    @translate
    async def among(self, pairs: Sequence[Pair]) -> set[Pair]:
        """See `BlockStore.among`."""
        if not pairs:
            return set()
        query = {"_id": {"$in": [_key(*pair) for pair in pairs]}}
        rows = await fetch(self._blocks, query, {"_id": 0, "owner_id": 1, "user_id": 1})
        return {(row["owner_id"], row["user_id"]) for row in rows}


def _key(owner: str, user: str) -> str:
    return f"{owner}/{user}"
