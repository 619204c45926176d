"""`OpeningStore` in memory."""

from __future__ import annotations

from chat.history import MAX_MOVES, Opening
from chat.ports import ChatStore, MessageStore, ReceiptStore
from chat.sign_ins import SignIn, SignInStore

_LAST = 2**63


class MemoryOpenings:
    """Asks the four stores."""

    def __init__(self, chats: ChatStore, messages: MessageStore, receipts: ReceiptStore, sign_ins: SignInStore) -> None:
        self._chats, self._messages, self._receipts, self._sign_ins = chats, messages, receipts, sign_ins

    async def opening(self, chat: str, *, members: int, first: int, sign_in: SignIn | None = None) -> Opening:
        """See `OpeningStore.opening`."""
        newest = await self._messages.before(chat, None, 1)
        log = await self._receipts.reached(chat, first, _LAST)
        return Opening(
            await self._chats.members(chat, limit=members),
            newest[0] if newest else None,
            log if len(log) <= MAX_MOVES else None,
            sign_in is not None and bool(await self._sign_ins.holding([sign_in])),
        )

    async def below(
        self, chat: str, *, members: int, before: int, limit: int, sign_in: SignIn | None = None
    ) -> Opening:
        """See `OpeningStore.below`."""
        found = await self.opening(chat, members=members, first=_LAST, sign_in=sign_in)
        found.events = await self._messages.before(chat, before, limit)
        log = await self._receipts.reached(chat, before - limit, before - 1)
        found.receipts = log if len(log) <= MAX_MOVES else None
        return found
