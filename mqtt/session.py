"""Session state (MQTT 5.0 §4.1): subscriptions, what is under way, what waits. Pure: it is given packets and the time, and
appends the bytes to be sent to `out`, which the shell drains once per turn of its loop.

An outgoing QoS 1 message is in one of these places, and moves only along the arrows:

    deliver ──► inflight (has a packet id, sent) ──PUBACK──► done
       │                 ▲            └──connection lost──► inflight, sent again with DUP on resume [MQTT-4.4.0-1]
       └──window full──► queue ──────┘
                           └──queue full──► dropped (counted)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from mqtt.decode import V5
from mqtt.encode import with_dup
from mqtt.messages import Message
from mqtt.wire import PACKET_IDS

MAX_PACKET_ID = 0xFFFF


class Outcome(Enum):
    """What became of a message that was to be delivered."""

    SENT = auto()
    QUEUED = auto()
    OFFLINE = auto()
    """QoS 0 for a session without connection: not kept (5.0 §4.1.0, a server's choice)."""
    QUEUE_FULL = auto()
    STALLED = auto()
    """QoS 0 for a connection that doesn't read: dropped rather than buffered."""
    TOO_LARGE = auto()
    """Larger than the client takes [MQTT-3.1.2-24]."""
    EXPIRED = auto()


@dataclass(frozen=True, slots=True)
class Subscription:
    """How a session subscribed to one filter."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()

    def merged_with(self, other: Subscription) -> Subscription:
        """How the one copy of a message that both match is delivered: nothing that either asked for is missing."""
        return Subscription(
            self.topic_filter,
            max(self.qos, other.qos),
            retain_as_published=self.retain_as_published or other.retain_as_published,
            identifiers=self.identifiers + other.identifiers,
        )


class Outgoing:
    """A QoS 1 message on its way to a client.

    Attributes:
        origin: who waits for this client's PUBACK; the engine hands it back with the acknowledgement.
    """

    __slots__ = ("identifiers", "message", "origin", "retain")

    def __init__(self, message: Message, retain: bool, identifiers: tuple[int, ...], origin: Any) -> None:
        self.message = message
        self.retain = retain
        self.identifiers = identifiers
        self.origin = origin


class Session:
    """One client's session, connected or not.

    Args:
        client_id: its name on this broker.
        principal: whom it belongs to.
        uid: unlike any other session's, also an earlier one of the same client id.
        queue_limit: how many messages may wait; the next one is dropped and counted.

    Attributes:
        attached: how often a connection has taken the session over: a timer set at the end of one compares it.
        out: bytes to be sent.
        dirty: the shell's note that `out` will be drained this turn.
        connection: the shell's own object for the connection; nothing here looks into it.
    """

    __slots__ = (
        "_ingest_count",
        "_ingests",
        "_next_id",
        "attached",
        "client_id",
        "connected",
        "connection",
        "dirty",
        "expiry",
        "inflight",
        "max_packet",
        "out",
        "principal",
        "queue",
        "queue_limit",
        "shared",
        "stalled",
        "subscriptions",
        "uid",
        "version",
        "window",
    )

    def __init__(self, client_id: str, principal: str, *, uid: str, queue_limit: int = 1000) -> None:
        self.client_id = client_id
        self.principal = principal
        self.uid = uid
        self.queue_limit = queue_limit
        self.subscriptions: dict[str, Subscription] = {}
        self.shared = 0
        self.version = V5
        self.expiry = 0
        self.attached = 0
        self.connected = False
        self.connection: Any = None
        self.dirty = False
        self.stalled = False
        self.window = MAX_PACKET_ID
        self.max_packet = 0
        self.out: list[bytes] = []
        self.inflight: dict[int, Outgoing] = {}
        self.queue: deque[Outgoing] = deque()
        self._next_id = 0
        self._ingests: dict[int, int] = {}
        self._ingest_count = 0

    # ---- connection

    def attach(self, *, version: int, window: int, max_packet: int) -> None:
        """A connection takes the session over.

        Args:
            version: protocol level 4 or 5.
            window: how many QoS 1 messages the client takes at once (receive maximum).
            max_packet: largest packet that the client takes, 0 for no limit.
        """
        self.version = version
        self.window = window
        self.max_packet = max_packet
        self.attached += 1
        self.connected = True
        self.stalled = False
        self.out = []

    def detach(self) -> None:
        """The connection is gone; what it had not been sent goes with it, what was under way stays."""
        self.connected = False
        self.out = []

    def resume(self, now: float) -> None:
        """Send again, with DUP and the same packet ids in the same order, what was under way [MQTT-4.4.0-1, 4.6.0-1],
        then what waits.
        """
        for packet_id, outgoing in list(self.inflight.items()):
            if self._exceeds(outgoing.message, outgoing.identifiers, now):
                del self.inflight[packet_id]  # the client takes less than before [MQTT-3.1.2-25]
            else:
                self._send(packet_id, outgoing, now, dup=True)
        self.refill(now)

    # ---- outgoing

    def deliver(  # the hot path: QoS 0 and QoS 1 to a connected client are the first lines
        self,
        message: Message,
        qos: int,
        now: float,
        *,
        retain: bool = False,
        identifiers: tuple[int, ...] = (),
        origin: Any = None,
    ) -> Outcome:
        """Send or queue a message.

        Args:
            message: what to deliver.
            qos: the lower of the message's and the subscription's.
            now: the broker's clock, seconds.
            retain: the RETAIN flag of the delivery.
            identifiers: subscription identifiers of the matching subscriptions.
            origin: see `Outgoing`; with one, the queue's limit does not count (the origin is slowed down instead).
        """
        if message.expires_at is not None and message.expired(now):
            return Outcome.EXPIRED
        if not qos:
            return self._deliver_qos0(message, now, retain=retain, identifiers=identifiers)
        if self.max_packet and self.connected and self._exceeds(message, identifiers, now):
            return Outcome.TOO_LARGE
        outgoing = Outgoing(message, retain, identifiers, origin)
        if self.connected and len(self.inflight) < self.window and not self.queue:
            packet_id = self._take_id()
            self.inflight[packet_id] = outgoing
            self._send(packet_id, outgoing, now)
            return Outcome.SENT
        if len(self.queue) >= self.queue_limit and origin is None:
            return Outcome.QUEUE_FULL
        self.queue.append(outgoing)
        return Outcome.QUEUED

    def acknowledge(self, packet_id: int, now: float) -> Outgoing | None:
        """The client's PUBACK: what it was for (None if for nothing), and the next ones are sent."""
        outgoing = self.inflight.pop(packet_id, None)
        if self.queue:  # also when it was for something purged: that had its place in the window
            self.refill(now)
        return outgoing

    def refill(self, now: float) -> None:
        """Send from the queue while the window has room."""
        queue, inflight = self.queue, self.inflight
        while queue and self.connected and len(inflight) < self.window:
            outgoing = queue.popleft()
            if outgoing.message.expired(now) or self._exceeds(outgoing.message, outgoing.identifiers, now):
                continue
            packet_id = self._take_id()
            inflight[packet_id] = outgoing
            self._send(packet_id, outgoing, now)

    def purge(self, unwanted: Callable[[Message], bool]) -> int:
        """Forget queued and unacknowledged messages, so that they are never sent (again); how many."""
        kept = [outgoing for outgoing in self.queue if not unwanted(outgoing.message)]
        gone = [packet_id for packet_id, outgoing in self.inflight.items() if unwanted(outgoing.message)]
        count = len(self.queue) - len(kept) + len(gone)
        self.queue = deque(kept)
        for packet_id in gone:
            del self.inflight[packet_id]
        return count

    def take_origins(self) -> Iterator[Outgoing]:
        """Take out everything that somebody waits for: this client won't acknowledge it any more."""
        waiting = [packet_id for packet_id, outgoing in self.inflight.items() if outgoing.origin is not None]
        yield from [self.inflight.pop(packet_id) for packet_id in waiting]
        queued, self.queue = self.queue, deque(o for o in self.queue if o.origin is None)
        yield from (outgoing for outgoing in queued if outgoing.origin is not None)

    def _deliver_qos0(self, message: Message, now: float, *, retain: bool, identifiers: tuple[int, ...]) -> Outcome:
        if not self.connected:
            return Outcome.OFFLINE
        if self.stalled:
            return Outcome.STALLED
        if self._exceeds(message, identifiers, now):
            return Outcome.TOO_LARGE
        self.out += message.parts_now(self.version, 0, retain=retain, now=now, identifiers=identifiers)
        return Outcome.SENT

    def _send(self, packet_id: int, outgoing: Outgoing, now: float, *, dup: bool = False) -> None:
        message = outgoing.message
        if message.expires_at is None and not outgoing.identifiers:
            head, tail = message.parts(self.version, 1, retain=outgoing.retain)
        else:
            head, tail = message.parts_now(
                self.version, 1, retain=outgoing.retain, now=now, identifiers=outgoing.identifiers
            )
        self.out += (with_dup(head) if dup else head, PACKET_IDS[packet_id], tail)

    def _exceeds(self, message: Message, identifiers: tuple[int, ...], now: float) -> bool:
        if not self.max_packet:
            return False
        head, tail = message.parts_now(self.version, 1, retain=False, now=now, identifiers=identifiers)
        return len(head) + len(tail) + 2 > self.max_packet

    def _take_id(self) -> int:
        """A packet id that is not in use [MQTT-2.2.1-4]; there is one, as the window is at most their number."""
        packet_id = self._next_id % MAX_PACKET_ID + 1
        while packet_id in self.inflight:
            packet_id = packet_id % MAX_PACKET_ID + 1
        self._next_id = packet_id
        return packet_id

    # ---- incoming

    def ingest_id(self, packet_id: int, *, dup: bool, keep: int) -> str:
        """A name for an incoming publish that stays the same when the client sends the packet again with DUP.

        Args:
            packet_id: of the client's PUBLISH.
            dup: its DUP flag: the client says that it has sent this packet id before without an answer.
            keep: how many packet ids to remember: as many as the client may have unanswered.
        """
        number = self._ingests.get(packet_id) if dup else None
        if number is None:
            self._ingest_count += 1
            number = self._ingest_count
            self._ingests.pop(packet_id, None)  # the newest stand last
            self._ingests[packet_id] = number
            if len(self._ingests) > keep:
                del self._ingests[next(iter(self._ingests))]
        return f"{self.uid}.{number}"
