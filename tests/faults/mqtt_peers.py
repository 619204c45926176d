"""MQTT clients that forget nothing: they come back whenever the broker does, and write down what they were told.

Persistent sessions, QoS 1 and 2 with the state that the standard asks of a client (5.0 §4.3, §4.4), so that what they see
of a broker that is killed is the broker's doing. Payloads are `{publisher}:{qos}:{number}:{text}`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from mqtt.codec import Decoder, encode
from mqtt.packets import (
    ConnAck,
    Connect,
    Filter,
    Packet,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)

TEXT = "안녕하세요 👋"
RETRY_SECONDS = 0.02


class Peer:
    """One client that is always on its way back.

    Args:
        port: of the broker, on loopback.
        name: client id.
        version: protocol level.

    Attributes:
        forgotten: how often the broker had no session for it that it should have had.
        refused: answers that no client with a good conscience gets.
    """

    def __init__(self, port: int, name: str, version: int) -> None:
        self.port = port
        self.name = name
        self.version = version
        self.forgotten = 0
        self.refused: list[str] = []
        self.connected = asyncio.Event()
        self._known = False
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Connect, and again, until cancelled."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._live()
            self.connected.clear()
            self._writer = None
            await asyncio.sleep(RETRY_SECONDS)

    async def _live(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            properties: Properties = {"session_expiry_interval": 3600} if self.version == 5 else {}
            writer.write(encode(Connect(self.name, self.version, False, 0, properties=properties), self.version))
            decoder = Decoder(version=self.version, max_packet=1 << 24)
            while data := await reader.read(65_536):
                for packet in decoder.feed(data):
                    if isinstance(packet, ConnAck):
                        self._writer = writer
                        self._welcome(packet)
                    else:
                        self.hear(packet)
                if decoder.failure is not None:
                    self.refused.append(decoder.failure.detail)
                await writer.drain()
        finally:
            writer.close()

    def _welcome(self, answer: ConnAck) -> None:
        if answer.reason:
            self.refused.append(f"CONNACK {answer.reason:#x}")
            return
        if self._known and not answer.session_present:
            self.forgotten += 1
        self.connected.set()
        self.resume()

    def keep(self) -> None:
        """From now on the broker owes us a session."""
        self._known = True

    def send(self, packet: Packet) -> None:
        """Send, if there is a connection; who needs an answer sends again on the next."""
        if self._writer is not None:
            self._writer.write(encode(packet, self.version))

    def resume(self) -> None:
        """A connection is there."""

    def hear(self, packet: Packet) -> None:
        """A packet came."""
        raise NotImplementedError


class Publisher(Peer):
    """Publishes with a window, sends again in order what was not acknowledged, and knows what was.

    Args:
        qos: of its publishes.
        topic: where it publishes.
        retain: of its publishes.
        window: how many may be unanswered.
    """

    def __init__(
        self, port: int, name: str, version: int, *, qos: int, topic: str, retain: bool = False, window: int = 20
    ) -> None:
        super().__init__(port, name, version)
        self.qos = qos
        self.topic = topic
        self.retain = retain
        self.window = window
        self.sent: list[str] = []
        self.acknowledged: set[str] = set()
        self.stopping = False
        self._under_way: dict[int, str | None] = {}
        """Packet ids in the order of sending; None once PUBREC has come."""
        self._next_id = 0

    @property
    def idle(self) -> bool:
        """Whether everything was acknowledged to the end."""
        return not self._under_way

    def resume(self) -> None:
        self.keep()
        for packet_id, payload in list(self._under_way.items()):
            if payload is None:
                self.send(PubRel(packet_id))
            else:
                self._publish(packet_id, payload, dup=True)
        self.fill()

    def fill(self) -> None:
        """Send as many new messages as the window takes."""
        while not self.stopping and len(self._under_way) < self.window:
            self._next_id = self._next_id % 65_535 + 1
            payload = f"{self.name}:{self.qos}:{len(self.sent)}:{TEXT}"
            self.sent.append(payload)
            self._under_way[self._next_id] = payload
            self._publish(self._next_id, payload, dup=False)

    def _publish(self, packet_id: int, payload: str, *, dup: bool) -> None:
        self.send(Publish(self.topic, payload.encode(), self.qos, self.retain, dup, packet_id))

    def hear(self, packet: Packet) -> None:
        match packet:
            case PubAck():
                self._taken(packet)
                self._under_way.pop(packet.packet_id, None)
            case PubRec():
                self._taken(packet)
                if packet.packet_id in self._under_way:
                    self._under_way[packet.packet_id] = None
                self.send(PubRel(packet.packet_id))
            case PubComp():
                self._under_way.pop(packet.packet_id, None)
            case _:
                self.refused.append(type(packet).__name__)
        self.fill()

    def _taken(self, packet: PubAck | PubRec) -> None:
        if packet.reason >= 0x80:
            self.refused.append(f"{type(packet).__name__} {packet.reason:#x}")
        elif payload := self._under_way.get(packet.packet_id):
            self.acknowledged.add(payload)


class Subscriber(Peer):
    """Subscribes once, and from then on owes its subscriptions to the broker's memory.

    Args:
        qos: of its subscription.
        topic_filter: what it subscribes to.

    Attributes:
        received: payloads as the application would see them, QoS 2 at the first PUBLISH of a packet id.
    """

    def __init__(self, port: int, name: str, version: int, *, qos: int, topic_filter: str) -> None:
        super().__init__(port, name, version)
        self.qos = qos
        self.topic_filter = topic_filter
        self.subscribed = asyncio.Event()
        self.received: list[str] = []
        self._held: set[int] = set()

    def resume(self) -> None:
        if not self.subscribed.is_set():
            self.send(Subscribe(1, [Filter(self.topic_filter, self.qos)]))

    def hear(self, packet: Packet) -> None:
        match packet:
            case SubAck():
                self.keep()
                self.subscribed.set()
            case Publish(qos=1):
                self.received.append(packet.payload.decode())
                self.send(PubAck(packet.packet_id))
            case Publish(qos=2):
                if packet.packet_id not in self._held:
                    self._held.add(packet.packet_id)
                    self.received.append(packet.payload.decode())
                self.send(PubRec(packet.packet_id))
            case PubRel():
                self._held.discard(packet.packet_id)
                self.send(PubComp(packet.packet_id))
            case _:
                self.refused.append(type(packet).__name__)


def findings(publishers: list[Publisher], subscribers: list[Subscriber]) -> Counter[str]:
    """What the broker did wrong, counted: `lost`, `twice` (of QoS 2), `order`, `phantom`, `forgotten`, `refused`."""
    found: Counter[str] = Counter()
    for peer in (*publishers, *subscribers):
        found["forgotten"] += peer.forgotten
        found["refused"] += len(peer.refused)
    for subscriber in subscribers:
        counts = Counter(subscriber.received)
        for publisher in publishers:
            found["lost"] += sum(1 for payload in publisher.acknowledged if not counts[payload])
            own = [
                payload for payload in dict.fromkeys(subscriber.received) if payload.startswith(f"{publisher.name}:")
            ]
            numbers = [int(payload.split(":")[2]) for payload in own]
            found["order"] += numbers != sorted(numbers)
            if min(publisher.qos, subscriber.qos) == 2:
                found["twice"] += sum(counts[payload] > 1 for payload in own)
        found["phantom"] += len(counts.keys() - {payload for each in publishers for payload in each.sent})
    return +found
