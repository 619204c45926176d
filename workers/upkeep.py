"""Forgetting what is over, and folding what is old: small jobs, bounded per run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time

from chat.background import JobRunStore
from chat.jobs import COMPACT_RECEIPTS
from chat.upkeep import UpkeepStore
from workers import metrics

BATCH = 1_000
"""Documents per write."""

MAX_BATCHES = 20
"""Of each kind, per run; the next run goes on."""

ENDED_DAYS = 7
"""Sign-ins that have ended are kept for so long: a stolen refresh token that is shown meanwhile is recognised as one."""

DAY = timedelta(days=1)


class Hygiene:
    """Forgets sign-ins that have ended, push tokens that nobody uses, and idempotency keys that are over.

    Args:
        push_token_days: a token that no app has brought for so long is forgotten.
        now: UTC.
    """

    def __init__(
        self, upkeep: UpkeepStore, *, push_token_days: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._upkeep = upkeep
        self._push_token_days = push_token_days
        self._now = now

    async def run(self) -> int:
        """One run; how many documents went.

        Raises:
            Unavailable: Mongo does not answer; the next run finds the rest.
        """
        now = self._now()
        ended, unused = now - ENDED_DAYS * DAY, now - self._push_token_days * DAY
        return sum(
            [
                await _all("sign_in", lambda: self._upkeep.forget_sign_ins(ended, BATCH)),
                await _all("push_token", lambda: self._upkeep.forget_push_tokens(unused, BATCH)),
                await _all("idempotency_key", lambda: self._upkeep.forget_keys(now, BATCH)),
            ]
        )


async def _all(what: str, some: Callable[[], Awaitable[int]]) -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        gone = await some()
        total += gone
        if gone < BATCH:
            break
    metrics.TIDIED.labels(what).inc(total)
    return total


class Compaction:
    """Folds the receipts of whole days that are long over, one day after the other: of each day a watermark keeps its last receipt.

    Status is not touched (it comes from the watermarks); when an old message was delivered or seen is then true to the day.

    Args:
        days: receipts that are younger stay as they are.
        budget: seconds that one run may take.
        now: UTC.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        upkeep: UpkeepStore,
        runs: JobRunStore,
        *,
        days: int,
        budget: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upkeep = upkeep
        self._runs = runs
        self._days = days
        self._budget = budget
        self._now = now
        self._monotonic = monotonic

    async def run(self) -> int:
        """Fold day by day for as long as there is one and time; how many receipts went.

        Raises:
            Unavailable: Mongo does not answer; the next run goes on with the same day.
        """
        deadline = self._monotonic() + self._budget
        total, day = 0, await self._first_day()
        while day is not None and day + DAY <= self._now() - self._days * DAY:
            while folded := await self._upkeep.fold_receipts(day, day + DAY, BATCH):
                metrics.COMPACTED.inc(folded)
                total += folded
                if self._monotonic() >= deadline:
                    return total
            day += DAY
            await self._runs.move(COMPACT_RECEIPTS, day.isoformat())
            if self._monotonic() >= deadline:
                break
        return total

    async def _first_day(self) -> datetime | None:
        """The first one that is not folded. None: there are no receipts."""
        oldest = await self._upkeep.oldest_receipt()
        if oldest is None:
            return None
        first = datetime.combine(oldest.date(), clock_time(), UTC)
        try:
            return max(first, datetime.fromisoformat((await self._runs.get(COMPACT_RECEIPTS)).position))
        except ValueError:
            return first
