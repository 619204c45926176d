"""Checking the audit log by the clock: somebody who meddles with it must not be found out only when somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from adapters.audit_walk import walk
from chat.audit import Anchor
from chat.errors import Unavailable
from chat.ports import Audit
from workers import metrics

RECORDS = 10_000
"""Records per step, between which it looks at the clock."""

_log = structlog.get_logger("audit")


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

    async def run(self) -> int:
        """Verify for as long as there is something and time; how many records that were. What is wrong is logged and counted.

        Raises:
            Unavailable: Mongo does not answer.
        """
        deadline = self._monotonic() + self._budget
        checked, faults, first = (
            0,
            0,
            None,
        )  # of a log that somebody wrote anew every record may be a fault: not all are kept
        try:
            while True:
                step = await walk(self._audit, self._behind, RECORDS)
                checked += step.checked
                faults += len(step.faults)
                first = first or next(iter(step.faults), None)
                self._behind = Anchor() if step.complete else step.end
                if step.complete or self._monotonic() >= deadline:
                    break
        except Unavailable:
            metrics.AUDIT_CHECKS.labels("unavailable").inc()
            raise
        metrics.AUDIT_CHECKS.labels("broken" if faults else "intact").inc()
        if first is not None:
            _log.error("audit.broken", faults=faults, seq=first[0], what=first[1])
        return checked
