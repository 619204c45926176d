"""Withdrawals: whoever has seen a chat on one device is rid of its notification on the others.

Most who see something have no notification of it. So what users have on their screens is asked of Valkey, for all who have seen something in a
while at once, and only for them is there a job. A withdrawal that is lost leaves a notification where it is, until its user looks at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from bridge.claims import Key
from bridge.metrics import Metrics
from chat.errors import Unavailable
from chat.jobs import PUSH_QUEUE, PUSH_WITHDRAW
from chat.ports import JobQueue
from chat.pushes import PushProgress, of_user

EVERY = 1.0
"""Seconds between two questions: soon enough for somebody who takes up another device."""

MAX_WAITING = 20_000
"""Those who have seen something since the last question; the rest keep their notifications. Above the rate of a busy bridge."""

_log = structlog.get_logger("withdrawals")


class SeenElsewhere:
    """Finds those who have seen what is on a screen of theirs.

    Args:
        progress: knows what is on screens.
        jobs: where the jobs go.
    """

    def __init__(self, progress: PushProgress, jobs: JobQueue, metrics: Metrics) -> None:
        self._progress = progress
        self._metrics = metrics
        self._jobs = jobs
        self._seen: dict[Key, int] = {}
        self._something = asyncio.Event()

    def add(self, seen: Iterable[tuple[Key, int]]) -> None:
        """Users have seen everything of a chat up to a `seq`."""
        for key, seq in seen:
            if key not in self._seen and len(self._seen) >= MAX_WAITING:
                self._metrics.withdrawals_dropped.inc()
                continue
            self._seen[key] = seq
            self._something.set()

    async def run(self) -> None:
        """Ask and send jobs, interval by interval, until cancelled."""
        while True:
            await self._something.wait()
            await asyncio.sleep(EVERY)
            await self.flush()

    async def flush(self) -> None:
        """One question about all who wait; while Valkey does not answer they keep what they have."""
        self._something.clear()
        seen, self._seen = self._seen, {}
        names: dict[str, list[str]] = {}
        for chat, user in seen:
            names.setdefault(chat, []).append(of_user(user))
        try:
            shown = await self._progress.pushed(names)
            for (chat, user), seq in seen.items():
                pushed = shown.get((chat, of_user(user)))
                if pushed is not None and pushed.seq <= seq:
                    await self._jobs.enqueue(PUSH_WITHDRAW, chat, user, queue=PUSH_QUEUE)
        except Unavailable as error:
            _log.warning("withdrawals.lost", reason=error.reason)
