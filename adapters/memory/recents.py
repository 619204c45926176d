"""`Recents` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
from chat.events import Event


class MemoryRecents:
    """Copies by chat."""

    def __init__(self) -> None:
        self._copies: dict[str, list[Event]] = {}

    async def get(self, chat: str) -> list[Event]:
        """See `Recents.get`."""
        return [copied(event) for event in self._copies.get(chat, [])]

    async def put(self, chat: str, events: Sequence[Event]) -> None:
        """See `Recents.put`."""
        self._copies[chat] = [copied(event) for event in events]

    async def forget(self, chats: Sequence[str]) -> None:
        """See `Recents.forget`."""
        for chat in chats:
            self._copies.pop(chat, None)
