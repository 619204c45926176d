"""Fan-out: stored events back to the broker, in order of `seq` within each chat.

What is stored is delivered (P2), so an event is sent again until the broker has taken it. When the link fails, everything that was on
its way fails with it; it is sent again in the order in which it was sent first, and what is new stands in line behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from adapters.backoff import Backoff
from bridge.metrics import Metrics
from bridge.repeats import Stored
from chat import topics
from chat.ports import Link, Published
from chat.tracing import TraceContext

_NEVER = frozenset({0x90, 0x95, 0x99})
"""Topic name invalid, packet too large, payload format invalid: the same packet is refused for ever, and must not hold up what comes
behind it. Members find the event by sync. (`filters.size` keeps events below the broker's limit, so this takes a misconfiguration.)"""

_log = structlog.get_logger("fan_out")


@dataclass(slots=True)
class Flight:
    """Events on their way, and the broker's answers to come; None: they have not been sent yet.

    Attributes:
        traces: the spans that some belong to, by event id; None: none of them.
    """

    events: Sequence[Stored]
    answers: Awaitable[Sequence[Published | None]] | None
    traces: Mapping[str, TraceContext] | None = None


class FanOut:
    """Publishes events on `chats/{chat}/messages`, marked with their `seq`: so the broker knows what a subscriber's PUBACK stands for.

    Args:
        link: to the broker.
    """

    def __init__(self, link: Link, metrics: Metrics) -> None:
        self._link = link
        self._metrics = metrics
        self._recovering = 0
        self._turn = asyncio.Lock()

    def start(self, events: Iterable[Stored], *, traces: Mapping[str, TraceContext] | None = None) -> Flight:
        """Send events, now and in this order; `finish` tells when the broker has them.

        Within a chat they must be in order of `seq`, and every chat's flights must be started in order.
        """
        events = [part for event in events for part in _parts(event)]
        return Flight(events, None if self._recovering else self._publish(events, traces), traces)

    async def finish(self, flight: Flight) -> None:
        """Return when the broker has taken every event of the flight, however often they have to be sent."""
        left = flight.events if flight.answers is None else self._failed(flight.events, await flight.answers)
        if not left:
            return
        self._recovering += 1
        try:
            # The lock is fair: whose flight started first is here first, and keeps it until the broker has all of that flight.
            async with self._turn:
                while left:
                    await self._link_up()
                    left = self._failed(left, await self._publish(left, flight.traces))
        finally:
            self._recovering -= 1

    def _publish(
        self, events: Sequence[Stored], traces: Mapping[str, TraceContext] | None
    ) -> Awaitable[Sequence[Published | None]]:
        return self._link.publish_all(
            [
                (topics.messages(event.chat), event.payload, event.seq)
                if event.to is None
                else (topics.inbox(event.to), event.payload, None)
                for event in events
            ],
            traces=None
            if traces is None
            else {at: traces[event.id] for at, event in enumerate(events) if event.id in traces},
        )

    async def _link_up(self) -> None:
        self._metrics.retries.labels("fan_out").inc()
        backoff = Backoff(first=0.02, most=1.0)
        await asyncio.sleep(backoff.next())
        while not self._link.connected:  # noqa: ASYNC110 - the port has no event for it
            await asyncio.sleep(backoff.next())

    def _failed(self, events: Sequence[Stored], answers: Sequence[Published | None]) -> list[Stored]:
        """The events that are to be sent again."""
        left: list[Stored] = []
        for event, published in zip(events, answers, strict=True):
            if published is None:
                left.append(event)
            elif published.reason_code in _NEVER:
                self._metrics.fan_out_refused.inc()
                _log.error("event.refused_by_broker", chat=event.chat, seq=event.seq, reason_code=published.reason_code)
            elif published.reason_code >= 0x80:
                left.append(event)
        return left


def _parts(event: Stored) -> tuple[Stored, ...]:
    """What is published of an event. One user's own goes to that user's inbox, and then to the chat without what it says: whoever has
    the first takes the second, which has the same `seq`, as a repeat.
    """
    if event.to is None or event.own is None:
        return (event,)
    who = (event.id, event.chat, event.sender, event.seq, event.n, event.type, event.at)
    return Stored(*who, event.own, to=event.to), Stored(*who, event.payload)
