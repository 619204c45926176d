"""The audit of unread counts: some memberships after the other are counted anew and compared with what is stored (P6).

There should never be a difference: one is a fault of ours, and an alert. It is set right only where the operator has asked for it, since what is wrong
is the evidence. `python -m workers.recount` does all of them at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from adapters.stores import Stores
from chat.jobs import AUDIT_UNREAD
from workers import metrics
from workers.recount import differences, right

PAGE = 200
"""Memberships that are read and checked at once."""

_log = structlog.get_logger("unread")


class UnreadAudit:
    """Goes through all memberships, page by page; after the last one it begins anew.

    Args:
        most: memberships per run.
        repair: set right what is wrong.
        budget: seconds that one run may take.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        stores: Stores,
        *,
        most: int,
        repair: bool,
        budget: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._most = most
        self._repair = repair
        self._budget = budget
        self._monotonic = monotonic

    async def run(self) -> int:
        """Check the next ones; how many that were.

        Raises:
            Unavailable: Mongo does not answer; what was checked is checked.
        """
        deadline = self._monotonic() + self._budget
        chat, _, user = (await self._stores.job_runs.get(AUDIT_UNREAD)).position.partition("/")
        checked = 0
        while checked < self._most and self._monotonic() < deadline:
            limit = min(PAGE, self._most - checked)
            page = await self._stores.chats.scan(after=(chat, user), limit=limit)
            for member, correct in zip(page, await right(self._stores, page), strict=True):
                if member != correct:
                    metrics.DIFFERENCES.inc()
                    repaired = self._repair and await self._stores.chats.correct(member, correct)
                    _log.error("unread.differs", **differences(member, correct), repaired=repaired)
            checked += len(page)
            metrics.AUDITED.inc(len(page))
            chat, user = (page[-1].chat, page[-1].user) if len(page) == limit else ("", "")
            await self._stores.job_runs.move(AUDIT_UNREAD, f"{chat}/{user}" if chat else "")
            if not chat:
                break
        return checked
