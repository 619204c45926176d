"""`BlockStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
from chat.people import Block
from chat.people_stores import Pair


class MemoryBlocks:
    """Blocks by (owner, user)."""

    def __init__(self) -> None:
        self._blocks: dict[Pair, Block] = {}

    async def put(self, block: Block) -> bool:
        """See `BlockStore.put`."""
        if (block.owner, block.user) in self._blocks:
            return False
        self._blocks[block.owner, block.user] = copied(block)
        return True

    async def drop(self, owner: str, user: str) -> bool:
        """See `BlockStore.drop`."""
        return self._blocks.pop((owner, user), None) is not None

    async def page(self, owner: str, *, after: str = "", limit: int) -> list[Block]:
        """See `BlockStore.page`."""
        rows = [row for (whose, user), row in sorted(self._blocks.items()) if whose == owner and user > after]
        return [copied(row) for row in rows[: max(0, limit)]]

    async def count(self, owner: str) -> int:
        """See `BlockStore.count`."""
        return sum(whose == owner for whose, _ in self._blocks)

    async def among(self, pairs: Sequence[Pair]) -> set[Pair]:
        """See `BlockStore.among`."""
        return {pair for pair in pairs if pair in self._blocks}
