"""Retention: what is older than its chat keeps is erased for good, with its receipts and the copies in Valkey; its slots stay (P3).

A chat keeps what is said as long as everywhere (`PABAL_WORKER_RETENTION_DAYS`), or shorter if it wishes so. The job goes through the chats by
id, as far as its time allows, and goes on there at the next run. Each chat has a mark up to where it is erased, so only what has become old since is
looked at.

A reader may put a copy of the newest events into Valkey that it read just before they were erased. So the copies of the chats of one run are
thrown away once more by the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from chat.background import JobRunStore
from chat.history import Recents
from chat.jobs import RETAIN
from chat.upkeep import Keeping, UpkeepStore
from workers import metrics

PAGE = 200
"""Chats that are read at once."""

EVENTS = 1_000
"""Events per write."""

RECEIPTS = 5_000
"""Receipts per write."""

MAX_TOUCHED = 1_000
"""Chats of one run whose copies the next one throws away again; with more, the run ends."""


class _Position(msgspec.Struct):
    """Where the next run goes on: behind this chat. `again`: chats whose copies it throws away first."""

    after: str = ""
    again: list[str] = []


class Retention:
    """Erases what is no longer kept.

    Args:
        days: for so long everything is kept; 0: for ever.
        budget: seconds that one run may take.
        now: UTC.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        upkeep: UpkeepStore,
        runs: JobRunStore,
        recents: Recents,
        *,
        days: int,
        budget: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upkeep = upkeep
        self._runs = runs
        self._recents = recents
        self._days = days
        self._budget = budget
        self._now = now
        self._monotonic = monotonic

    async def run(self) -> int:
        """Erase for as long as there is something and time; how many events that were.

        Raises:
            Unavailable: Mongo or Valkey does not answer; the next run does it again from the same chat on.
        """
        deadline = self._monotonic() + self._budget
        position = _read((await self._runs.get(RETAIN)).position)
        await self._recents.forget(position.again)
        touched: list[str] = []
        after, total = position.after, 0
        while page := await self._upkeep.keepings(after=after, limit=PAGE, own=not self._days):
            for keeping in page:
                if self._monotonic() >= deadline or len(touched) >= MAX_TOUCHED:
                    return await self._end(total, after, touched)
                erased, done = await self._erase(keeping, deadline)
                total += erased
                if erased:
                    touched.append(keeping.chat)
                if not done:
                    return await self._end(total, after, touched)
                after = keeping.chat
        return await self._end(total, "", touched)

    async def _end(self, total: int, after: str, touched: list[str]) -> int:
        await self._runs.move(RETAIN, msgspec.json.encode(_Position(after, touched)).decode())
        return total

    async def _erase(self, keeping: Keeping, deadline: float) -> tuple[int, bool]:
        """One chat: how many events, and whether that was all. The mark is moved last: whoever is killed before does it again."""
        days = min((days for days in (self._days, keeping.days) if days), default=0)
        if not days:
            return 0, True
        before = self._now() - timedelta(days=days)
        seq, total, count = keeping.erased_seq, 0, EVENTS
        while count == EVENTS:
            seq, count = await self._upkeep.erase_before(
                keeping.chat, after=seq, before=before, now=self._now(), limit=EVENTS
            )
            total += count
            if self._monotonic() >= deadline:
                break
        if total:
            await self._drop_receipts(keeping.chat, seq)
            await self._recents.forget([keeping.chat])
            await self._upkeep.note_erased(keeping.chat, seq)
            metrics.RETAINED.labels("event").inc(total)
        return total, count < EVENTS

    async def _drop_receipts(self, chat: str, seq: int) -> None:
        while dropped := await self._upkeep.drop_receipts(chat, seq, RECEIPTS):
            metrics.RETAINED.labels("receipt").inc(dropped)
            if dropped < RECEIPTS:
                return


def _read(text: str) -> _Position:
    """Of a version that wrote something else: from the beginning."""
    try:
        return msgspec.json.decode(text, type=_Position) if text else _Position()
    except msgspec.MsgspecError:
        return _Position()
