"""`OpeningStore` in memory."""

from __future__ import annotations

from chat.history import MAX_MOVES, Opening
from chat.ports import ChatStore, MessageStore, ReceiptStore

_LAST = 2**63


class MemoryOpenings:
    """Asks the three stores."""

    def __init__(self, chats: ChatStore, messages: MessageStore, receipts: ReceiptStore) -> None:
        self._chats, self._messages, self._receipts = chats, messages, receipts

    async def opening(self, chat: str, *, members: int, first: int) -> Opening:
        """See `OpeningStore.opening`."""
        newest = await self._messages.before(chat, None, 1)
        log = await self._receipts.reached(chat, first, _LAST)
        return Opening(
            await self._chats.members(chat, limit=members),
            newest[0] if newest else None,
            log if len(log) <= MAX_MOVES else None,
        )
