"""Push marks: which messages somebody has to be woken for, and the job that does it.

The mark is stored with the message, the job is sent after it: a lost job is found by the sweeper, and a mark too many costs the worker
one look (it decides exactly, by presence, mute and watermark).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog

from bridge.members import Roster
from bridge.metrics import Metrics
from bridge.presence import Online
from chat.envelopes import Event
from chat.errors import Unavailable
from chat.jobs import PUSH_EVENT, PUSH_QUEUE
from chat.ports import JobQueue
from chat.tracing import TraceContext

_NO_TRACES: Mapping[str, TraceContext] = {}

_log = structlog.get_logger("pushes")


class Pushes:
    """Marks messages and sends their jobs.

    Args:
        online: who needs no push.
        jobs: where the jobs go.
    """

    def __init__(self, online: Online, jobs: JobQueue, metrics: Metrics) -> None:
        self._online = online
        self._jobs = jobs
        self._metrics = metrics

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
        """Send the jobs of stored messages, and the spans that some belong to. A queue that does not answer loses them; the sweeper
        finds their marks.
        """
        count = 0
        try:
            for message_id in message_ids:
                await self._jobs.enqueue(PUSH_EVENT, message_id, queue=PUSH_QUEUE, trace=traces.get(message_id))
                count += 1
        except Unavailable as error:
            _log.warning("push.job_lost", reason=error.reason)
        self._metrics.push_marks.inc(count)

    def _two_away(self, roster: Roster) -> list[str]:
        """Two who are away are enough to know: at most one of them is the sender."""
        absent: list[str] = []
        for user in roster.people:
            if not self._online.is_online(user):
                absent.append(user)
                if len(absent) == 2:
                    break
        return absent
