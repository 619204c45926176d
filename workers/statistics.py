"""Rolling statistics up: a scheduled job that goes on where the last one ended, whenever that was."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from chat.statistics import StatisticsStore
from workers import metrics

ROWS = 10_000
"""Rows per step."""


class RollUp:
    """Counts what has not been counted.

    Args:
        statistics: the store.
        budget: seconds that one run may take; the next one goes on.
        now: UTC.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        statistics: StatisticsStore,
        *,
        budget: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statistics = statistics
        self._budget = budget
        self._now = now
        self._monotonic = monotonic

    async def run(self) -> int:
        """Count for as long as there is something and time; how many rows that were.

        Raises:
            Unavailable: Mongo does not answer; what was counted stays counted.
        """
        deadline = self._monotonic() + self._budget
        total = 0
        while True:
            step = await self._statistics.roll_up(now=self._now(), limit=ROWS)
            rows = step.events + step.receipts
            metrics.ROLLED_UP.inc(rows)
            total += rows
            if step.done or self._monotonic() >= deadline:
                return total
