"""Checking the audit log by the clock: somebody who meddles with it must not be found out only when somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable

from adapters.audit_walk import walk
from chat.audit import Anchor
from chat.errors import Unavailable
from chat.ports import Audit
from workers import metrics

RECORDS = 10_000
"""Records per step, between which it looks at the clock."""


class AuditCheck:
    """Verifies the chain from one end to the other, over and over: a run goes on where the last one of this process ended.

    Args:
        audit: the log.
        budget: seconds that one run may take.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, audit: Audit, *, budget: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._budget = budget
        self._monotonic = monotonic
        self._behind = Anchor()

    async def run(self) -> list[tuple[int, str]]:
        """Verify for as long as there is something and time; what is wrong, as `adapters.audit_walk.Walk.faults`.

        Raises:
            Unavailable: Mongo does not answer.
        """
        deadline = self._monotonic() + self._budget
        faults: list[tuple[int, str]] = []
        try:
            while True:
                step = await walk(self._audit, self._behind, RECORDS)
                faults += step.faults
                self._behind = Anchor() if step.complete else step.end
                if step.complete or self._monotonic() >= deadline:
                    break
        except Unavailable:
            metrics.AUDIT_CHECKS.labels("unavailable").inc()
            raise
        metrics.AUDIT_CHECKS.labels("broken" if faults else "intact").inc()
        return faults
