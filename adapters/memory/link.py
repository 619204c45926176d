"""`Link` in memory: links that meet at a broker which is a dictionary, with acknowledgement after the receiver's.

Usage::

    broker = MemoryBroker()
    bridge, phone = broker.link(), broker.link()
    task = asyncio.create_task(bridge.run(["$share/bridge/chats/+/send/+"], receive))
    await broker.subscribed(bridge)
    published = await phone.publish("chats/c1/send/user1", b"...")  # comes when `receive`'s delivery is settled
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from chat.errors import Unavailable
from chat.ports import MARK, Delivery, Parcel, Published
from chat.tracing import TRACEPARENT, TraceContext
from mqtt.filters import matches

MAX_SENT = 100_000
"""Messages that a broker remembers for tests to look at; the oldest go first."""

_SHARE = "$share/"


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that the broker has taken."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Subscriber:
    filters: Sequence[str]
    receive: Callable[[list[Delivery]], None]
    unsettled: set[asyncio.Future[Published]] = field(default_factory=set)

    def shares(self, topic: str) -> bool:
        return any(matches(f.split("/", 2)[2], topic) for f in self.filters if f.startswith(_SHARE))

    def wants(self, topic: str) -> bool:
        return any(matches(f, topic) for f in self.filters if not f.startswith(_SHARE))


class MemoryBroker:
    """What links are connected to.

    Attributes:
        sent: every message taken, oldest first.
        refuse: asked for each publish; an answer of 0x80 or above is given to the publisher instead of taking it.
    """

    def __init__(self) -> None:
        self.sent: deque[Sent] = deque(maxlen=MAX_SENT)
        self.refuse: Callable[[str], Published | None] = lambda _topic: None
        self._subscribers: dict[MemoryLink, _Subscriber] = {}
        self._changed = asyncio.Event()

    def link(self) -> MemoryLink:
        """A new connection."""
        return MemoryLink(self)

    async def subscribed(self, link: MemoryLink) -> None:
        """Wait until `link.run` has subscribed."""
        while link not in self._subscribers:
            self._changed.clear()
            await self._changed.wait()

    def on(self, topic: str) -> list[Sent]:
        """What was taken on one topic, oldest first."""
        return [message for message in self.sent if message.topic == topic]

    def take(self, message: Sent, *, content_type: str | None = None) -> asyncio.Future[Published]:
        """Route one publish: to one of a share group (whose answer is the publisher's), and to everybody else who subscribes."""
        answer: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
        refused = self.refuse(message.topic)
        if refused is not None:
            answer.set_result(refused)
            return answer
        self.sent.append(message)
        shared = next((s for s in self._subscribers.values() if s.shares(message.topic)), None)
        for subscriber in self._subscribers.values():
            if subscriber is shared or subscriber.wants(message.topic):
                mine = answer if subscriber is shared else asyncio.get_running_loop().create_future()
                subscriber.unsettled.add(mine)
                mine.add_done_callback(subscriber.unsettled.discard)
                delivery = Delivery(
                    message.topic, message.payload, message.qos, _settler(mine), content_type, message.properties
                )
                subscriber.receive([delivery])
        if (shared is None or message.qos == 0) and not answer.done():
            answer.set_result(Published(0))
        return answer

    def join(self, link: MemoryLink, subscriber: _Subscriber) -> None:
        """A link subscribes."""
        self._subscribers[link] = subscriber
        self._changed.set()

    def leave(self, link: MemoryLink) -> None:
        """A link goes: what it had not settled is `Unavailable` to the publishers, who send again."""
        subscriber = self._subscribers.pop(link, None)
        for answer in list(subscriber.unsettled) if subscriber is not None else ():
            if not answer.done():
                answer.set_exception(Unavailable("the receiver went away"))
                answer.exception()


class MemoryLink:
    """`chat.ports.Link` on a `MemoryBroker`.

    Attributes:
        up: set it to False to cut the connection: publishing is `Unavailable`, what was unsettled is gone.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._up = True
        self._subscriber: _Subscriber | None = None

    @property
    def up(self) -> bool:
        """Whether the line is whole."""
        return self._up

    @up.setter
    def up(self, up: bool) -> None:
        self._up = up
        if not up:
            self._broker.leave(self)
        elif self._subscriber is not None:
            self._broker.join(self, self._subscriber)

    @property
    def connected(self) -> bool:
        """See `Link.connected`."""
        return self._up

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Awaitable[Published]:
        """See `Link.publish`."""
        if not self._up:
            answer: asyncio.Future[Published] = asyncio.get_running_loop().create_future()
            answer.set_exception(Unavailable("the link is down"))
            answer.exception()
            return answer
        message = Sent(topic, payload, qos, retain, dict(properties or {}))
        return self._broker.take(message, content_type=content_type)

    def publish_all(
        self, parcels: Sequence[Parcel], *, traces: Mapping[int, TraceContext] | None = None
    ) -> Awaitable[Sequence[Published | None]]:
        """See `Link.publish_all`."""
        stamps: list[dict[str, str]] = [{} if mark is None else {MARK: str(mark)} for _, _, mark in parcels]
        for index, trace in (traces or {}).items():
            stamps[index][TRACEPARENT] = trace.traceparent
        answers = [
            self.publish(topic, payload, properties=stamp)
            for (topic, payload, _), stamp in zip(parcels, stamps, strict=True)
        ]

        async def gathered() -> list[Published | None]:
            found = await asyncio.gather(*answers, return_exceptions=True)
            return [one if isinstance(one, Published) else None for one in found]

        return asyncio.ensure_future(gathered())

    async def run(self, filters: Sequence[str], receive: Callable[[list[Delivery]], None]) -> None:
        """See `Link.run`."""
        self._subscriber = _Subscriber(filters, receive)
        self._broker.join(self, self._subscriber)
        try:
            await asyncio.Event().wait()
        finally:
            self._broker.leave(self)
            self._subscriber = None


def _settler(answer: asyncio.Future[Published]) -> Callable[[int, str | None, str | None], None]:
    def settle(reason_code: int, reason: str | None, code: str | None) -> None:
        if not answer.done():
            answer.set_result(Published(reason_code, reason, code))

    return settle
