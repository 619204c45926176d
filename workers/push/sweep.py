"""Finding events whose push job was lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from chat.ports import MessageStore
from chat.pushes import PushProgress
from workers import metrics

MAX_FOUND = 1_000
"""Per sweep: after an outage the rest is found by the next ones, and the queue grows no faster than this."""

MAX_LOOKED = 50_000
"""Marks that one sweep looks at, most of them in hands already."""


class PushSweep:
    """Looks for marks that nobody works on.

    Args:
        age: how old a mark is before its job counts as lost.
        claim: seconds that a job which was sent again has, before it counts as lost too.
        now: UTC.
    """

    def __init__(
        self,
        *,
        messages: MessageStore,
        progress: PushProgress,
        age: timedelta,
        claim: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._messages = messages
        self._progress = progress
        self._age = age
        self._claim = claim
        self._now = now

    async def lost(self) -> list[str]:
        """Ids of events to push again; they count as taken care of for `claim` seconds.

        Raises:
            Unavailable: Mongo or Valkey does not answer.
        """
        before = self._now() - self._age
        claimed: list[str] = []
        # The oldest may be those that a provider has put off for hours: what stands behind them must be seen too.
        for skip in range(0, MAX_LOOKED, MAX_FOUND):
            found = await self._messages.push_pending(older_than=before, limit=MAX_FOUND, skip=skip)
            claimed += await self._progress.claim(found, seconds=self._claim)
            if len(found) < MAX_FOUND or len(claimed) >= MAX_FOUND:
                break
        metrics.SWEPT.inc(len(claimed))
        return claimed
