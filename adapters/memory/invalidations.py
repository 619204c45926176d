"""Invalidation messages in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from chat.envelopes import Invalidation

_BACKLOG = 1_000
"""What one listener may leave unread; beyond it the backlog becomes one None: check everything."""


class MemoryInvalidations:
    """`chat.ports.Invalidations` for one process and one event loop."""

    def __init__(self, *, backlog: int = _BACKLOG) -> None:
        self._backlog = backlog
        self._listeners: set[asyncio.Queue[Invalidation | None]] = set()

    async def publish(self, message: Invalidation) -> None:
        """Tell every listener of now."""
        for queue in self._listeners:
            if queue.full():
                _missed(queue)
            else:
                queue.put_nowait(message)

    def reconnect(self) -> None:
        """For tests: what a lost connection does to listeners."""
        for queue in self._listeners:
            _missed(queue)

    async def listen(self) -> AsyncIterator[Invalidation | None]:
        """None at once, then messages as they come."""
        queue: asyncio.Queue[Invalidation | None] = asyncio.Queue(self._backlog)
        queue.put_nowait(None)
        self._listeners.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._listeners.discard(queue)


def _missed(queue: asyncio.Queue[Invalidation | None]) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(None)
