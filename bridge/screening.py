"""Screening: the filters, asked about new messages only.

A message that was stored and is sent again (its PUBACK was lost) must get its first `seq` (P4), whatever the filters say by now: its
sender may have become too fast meanwhile, or the list of words longer. So a refusal is looked at once more: is it a repeat? That
costs a query per batch with refusals in it, and messages that pass nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.decode import Draft
from bridge.filters import Chain
from chat.ids import is_service
from chat.ports import MessageStore


class Screen:
    """Filters with a second look.

    Args:
        chain: the filters.
        messages: asked whether what they refuse is stored already.
    """

    def __init__(self, chain: Chain, messages: MessageStore) -> None:
        self._chain = chain
        self._messages = messages

    def check(self, draft: Draft) -> None:
        """Ask the filters; what our own services tell a chat passes.

        Raises:
            Refused, RateLimited, TooLarge: the first refusal.
        """
        if not is_service(draft.arrival.sender):
            self._chain.check(draft)

    async def repeats(self, refused: Sequence[Draft]) -> set[str]:
        """Ids of those that are stored already, by the same sender in the same chat: they pass.

        Raises:
            Unavailable: the store does not answer.
        """
        found = await self._messages.by_ids([draft.send.id for draft in refused])
        return {
            draft.send.id
            for draft in refused
            if (event := found.get(draft.send.id)) is not None
            and (event.sender, event.chat) == (draft.arrival.sender, draft.arrival.chat)
        }
