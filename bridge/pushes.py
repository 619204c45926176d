"""Push marks: which messages somebody has to be woken for, and the job that does it.

The mark is stored with the message, the job is sent after it: a lost job is found by the sweeper, and a mark too many costs the worker
one look (it decides exactly, by presence, mute and watermark).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from bridge.members import Roster
from bridge.metrics import Metrics
from bridge.presence import Online
from chat.envelopes import Event
from chat.errors import Unavailable
from chat.jobs import PUSH_EVENT, PUSH_QUEUE, PUSH_TOGETHER
from chat.ports import JobQueue
from chat.tracing import TraceContext

_NO_TRACES: Mapping[str, TraceContext] = {}

GATHER = 0.1
"""Seconds between two jobs. The first message goes at once; what is stored in the meantime shares the next job."""

_log = structlog.get_logger("pushes")


class Pushes:
    """Marks messages and sends their jobs.

    Args:
        online: who needs no push.
        jobs: where the jobs go.
        clock: seconds that only rise.
    """

    def __init__(
        self, online: Online, jobs: JobQueue, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._online = online
        self._jobs = jobs
        self._metrics = metrics
        self._clock = clock
        self._waiting: list[str] = []
        self._sent_at = float("-inf")
        self._something = asyncio.Event()

    def marks(self, events: Sequence[Event], rosters: dict[str, Roster]) -> frozenset[str]:
        """Ids of the messages that a present person other than their sender is away for."""
        away: dict[str, list[str]] = {}
        marked: list[str] = []
        for event in events:
            if event.type != "message" or event.only is not None:
                continue
            absent = away.get(event.chat)
            if absent is None:
                absent = away[event.chat] = self._two_away(rosters[event.chat])
            if absent and (len(absent) > 1 or absent[0] != event.sender):
                marked.append(event.id)
        return frozenset(marked)

    async def send(self, message_ids: Iterable[str], *, traces: Mapping[str, TraceContext] = _NO_TRACES) -> None:
        """Send a job for stored messages, at once or with those of the next moment; what is traced has a job, and thus a span, of its own.

        One job for many: measured (0025), what a job costs is shared by its messages. A queue that does not answer loses it; the sweeper finds
        their marks, as those of a bridge that is killed meanwhile.
        """
        ids = list(message_ids)
        if not ids:
            return
        self._metrics.push_marks.inc(len(ids))
        if traces:
            await self._traced({message_id: traces[message_id] for message_id in ids if message_id in traces})
            ids = [message_id for message_id in ids if message_id not in traces]
        self._waiting += ids
        if self._clock() - self._sent_at >= GATHER:
            await self.flush()
        else:
            self._something.set()

    async def _traced(self, traces: Mapping[str, TraceContext]) -> None:
        try:
            for message_id, trace in traces.items():
                await self._jobs.enqueue(PUSH_EVENT, message_id, queue=PUSH_QUEUE, trace=trace)
        except Unavailable as error:
            _log.warning("push.job_lost", reason=error.reason)

    async def run(self) -> None:
        """Send what has gathered, until cancelled."""
        while True:
            await self._something.wait()
            await asyncio.sleep(max(0.0, self._sent_at + GATHER - self._clock()))
            await self.flush()

    async def flush(self) -> None:
        """Send what waits."""
        self._something.clear()
        ids, self._waiting, self._sent_at = self._waiting, [], self._clock()
        try:
            for start in range(0, len(ids), PUSH_TOGETHER):
                await self._jobs.enqueue(PUSH_EVENT, *ids[start : start + PUSH_TOGETHER], queue=PUSH_QUEUE)
        except Unavailable as error:
            _log.warning("push.job_lost", reason=error.reason)

    def _two_away(self, roster: Roster) -> list[str]:
        """Two who are away are enough to know: at most one of them is the sender."""
        absent: list[str] = []
        for user in roster.people:
            if not self._online.is_online(user):
                absent.append(user)
                if len(absent) == 2:
                    break
        return absent
