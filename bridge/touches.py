"""Touches: the cached head of each chat (`chats.last_*`), for chat lists. A cache: the events are the truth, so it may be late."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from chat.errors import Unavailable
from chat.models import Head
from chat.ports import ChatStore

EVERY = 2.0
"""Seconds: however busy a chat is, its document is written no more often. Chat lists are sorted by it, and nothing else hangs on it; with
many chats it is one of three updates per message."""

_log = structlog.get_logger("touches")


class Touches:
    """The newest head per chat, until it is stored.

    Args:
        chats: where it is stored.
    """

    def __init__(self, chats: ChatStore) -> None:
        self._chats = chats
        self._heads: dict[str, tuple[Head, datetime]] = {}
        self._something = asyncio.Event()

    def add(self, chat: str, head: Head, at: datetime) -> None:
        """A chat has a new head."""
        known = self._heads.get(chat)
        if known is None or known[0].seq < head.seq:
            self._heads[chat] = (head, at)
            self._something.set()

    async def run(self) -> None:
        """Store what was collected, interval by interval, until cancelled."""
        while True:
            await self._something.wait()
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """Store what was collected; what the store does not take now, it gets next time."""
        self._something.clear()
        heads, self._heads = self._heads, {}
        if not heads:
            return
        try:
            await self._chats.touch(heads)
        except Unavailable as error:
            _log.warning("touches.delayed", reason=error.reason)
            for chat, (head, at) in heads.items():
                self.add(chat, head, at)
