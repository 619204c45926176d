"""Erasing what has expired: the content goes for good, the slot stays (P3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from chat.ports import MessageStore
from workers import metrics

BATCH = 1_000
"""Events per write."""

MAX_BATCHES = 20
"""Per run, so that a job ends within its time limit; the next run goes on."""


class Eraser:
    """Erases expired messages.

    Args:
        messages: the store.
        now: UTC.
    """

    def __init__(self, messages: MessageStore, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._messages = messages
        self._now = now

    async def run(self) -> int:
        """Erase what has expired by now; how many events that were.

        Raises:
            Unavailable: Mongo does not answer; the next run finds the rest.
        """
        total = 0
        for _ in range(MAX_BATCHES):
            erased = await self._messages.erase_expired(now=self._now(), limit=BATCH)
            total += erased
            if erased < BATCH:
                break
        metrics.ERASED.inc(total)
        return total
