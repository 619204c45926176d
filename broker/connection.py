"""One client's connection: its packets, one after the other, as guard clauses.

The connection knows no socket: a transport (TCP, WebSocket) gives it bytes and takes bytes. When the answer to a packet has
to be found out (login, a membership that is not cached), the packets behind it wait in order and nothing is read.

    NEW ──CONNECT──► LOGIN ──let in──► OPEN ──DISCONNECT, error, lost──► CLOSED
     └────────────────┴──refused, timeout, lost──────────────────────────►┘
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

import structlog

from broker.core import DROP_NAMES
from broker.explain import explained
from broker.handlers import HANDLERS
from broker.policy import Action, Identity
from broker.publishing import settle
from broker.transport import Transport
from mqtt.aliases import ReceivedAliases
from mqtt.codec import V5, Decoder, encode_within
from mqtt.outgoing import Outcome
from mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    Properties,
    PubAcks,
    Will,
)
from mqtt.reasons import ProtocolViolation, Reason, protocol_error
from mqtt.session import Session

if TYPE_CHECKING:
    from broker.broker import Broker

log = structlog.get_logger("broker")


class State(Enum):
    """Where a connection is in its life; see the picture above."""

    NEW = auto()
    LOGIN = auto()
    OPEN = auto()
    CLOSED = auto()


_LOGIN, _OPEN, _CLOSED = State.LOGIN, State.OPEN, State.CLOSED
"""For what is asked per packet: a global takes 6 ns, a member of an enum 50."""


class Connection:
    """One client.

    Args:
        broker: whose client it is.
        transport: its socket.

    Attributes:
        session: valid from OPEN on.
        identity: likewise.
        aliases: the client's topic aliases; None until it uses one.
        receive_maximum: how many QoS 1 and 2 publishes the client may have unanswered.
        unanswered: how many it has without PUBACK or PUBREC.
        naming: how many of them wait until their ingest id is on disk.
        vouching: how many answers wait for the disk.
        unreleased: how many of QoS 2 have a PUBREC and await PUBREL.
        last_heard: when bytes last came, seconds of the broker's clock.
        wants_reasons: whether an answer may carry a reason string and user properties [MQTT-3.1.2-29].
        max_packet: largest packet that the client takes, bytes; 0 for any. Valid from LOGIN on.
    """

    __slots__ = (
        "_decoder",
        "_epoch",
        "_waiting",
        "aliases",
        "broker",
        "core",
        "grants",
        "identity",
        "keep_alive",
        "last_heard",
        "max_packet",
        "naming",
        "opened",
        "pauses",
        "receive_maximum",
        "session",
        "stalled_since",
        "state",
        "transport",
        "unanswered",
        "unreleased",
        "version",
        "vouching",
        "wants_reasons",
        "will",
    )

    def __init__(self, broker: Broker, transport: Transport) -> None:
        self.broker = broker
        self.core = broker.core
        self.transport = transport
        self._decoder = Decoder(max_packet=self.core.limits.max_connect_packet)
        self._waiting: list[Packet | PubAcks] | None = None
        self.pauses = _NO_PAUSES
        self._epoch = 0
        self.grants = _NO_GRANTS
        self.state = State.NEW
        self.session: Session = _NO_SESSION
        self.identity: Identity = _NOBODY
        self.version = V5
        self.will: Will | None = None
        self.keep_alive = 0.0
        self.receive_maximum = self.core.limits.receive_maximum
        self.unanswered = 0
        self.naming = 0
        self.vouching = 0
        self.unreleased = 0
        self.aliases: ReceivedAliases | None = None
        self.opened = self.last_heard = self.core.clock()
        self.stalled_since: float | None = None
        self.wants_reasons = True
        self.max_packet = 0
        self.core.open.add(self)

    @property
    def peer(self) -> str:
        """The other end's address."""
        return self.transport.peer

    @property
    def alive(self) -> bool:
        """Whether the connection has not ended."""
        return self.state is not State.CLOSED

    @property
    def reading(self) -> bool:
        """Whether the client is being read: while it is not, its silence says nothing."""
        return not self.pauses

    @property
    def ready(self) -> bool:
        """Whether the client has been let in."""
        return self.state is State.OPEN

    # ---- from the transport

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.state is _CLOSED:
            return
        self.last_heard = self.core.now = self.core.clock()
        self.core.stats.bytes_in += len(data)
        if self.state is _LOGIN:
            self._decoder.hold(data)  # reading is paused: this is what the transport had read before it knew
            return
        packets = self._decoder.feed_all(data)
        if self._waiting is not None:
            self._waiting += packets
        else:
            self._handle(packets)

    @property
    def unsent(self) -> int:
        """Bytes that the other side has left unread, as far as they are held by this process."""
        return self.transport.unsent

    def cut(self) -> None:
        """End the connection, and give up what it has left unread."""
        self.end(publish_will=True)
        self.transport.abort()

    def lost(self) -> None:
        """The socket is gone: without DISCONNECT before, the will is due."""
        self.core.unsent.leaving.discard(self)
        self.end(publish_will=True)

    def write_paused(self) -> None:
        """The client doesn't read: drop its QoS 0, and read nothing from it until it does."""
        self.session.stalled = self.session is not _NO_SESSION
        self.stalled_since = self.core.clock()
        self.pause("write")

    def write_resumed(self) -> None:
        """The client reads again."""
        self.session.stalled = False
        self.stalled_since = None
        self.resume("write")

    # ---- to the transport

    def flush(self) -> None:
        """Send what the session has to send, in one write."""
        out = self.session.out
        if out and self.state is _OPEN:
            self.session.out = []
            data = b"".join(out)
            stats = self.core.stats
            stats.bytes_out += len(data)
            self.transport.write(data)
            if stats.bytes_out >= self.core.unsent.look_at:
                self.core.unsent.look()

    def pause(self, why: str) -> None:
        """Read nothing until every reason to pause is gone."""
        if not self.pauses:
            self.transport.pause()
        self.pauses |= {why}

    def resume(self, why: str) -> None:
        """One reason to pause is gone."""
        if why in self.pauses:
            self.pauses = self.pauses - {why} or _NO_PAUSES
            if not self.pauses and self.state is not State.CLOSED:
                self.last_heard = self.core.clock()
                self.transport.resume()

    def close(self, reason: Reason, detail: str = "", *, server_reference: str = "") -> None:
        """End the connection from our side; MQTT 5 clients are told why [MQTT-3.14.0-1], and where else to go."""
        if self.state is State.CLOSED:
            return
        if self.state is State.OPEN:
            self.flush()
            if self.version == V5:
                properties = explained(detail, server_reference)
                self.transport.write(encode_within(Disconnect(reason, properties), V5, self.max_packet))
        self.end(publish_will=True)

    def refuse(self, reason: Reason, detail: str, *, server_reference: str = "") -> None:
        """Answer a CONNECT with no, and end [MQTT-3.1.4-2]."""
        if self.alive:
            properties = explained(detail, server_reference) if self.version == V5 else {}
            self.transport.write(encode_within(ConnAck(False, reason, properties), self.version, self.max_packet))
            self.end(publish_will=False)

    # ---- packets

    def _handle(self, packets: Sequence[Packet | PubAcks]) -> None:
        """Handle packets in order, until one needs an answer from outside."""
        try:
            for position, packet in enumerate(packets):
                answer = HANDLERS[type(packet)](self, packet) if self.state is _OPEN else self._first(packet)
                if answer is not None:
                    rest = list(packets)[position + 1 :]
                    self._wait_for(answer, rest)
                    return
                if self.state is _CLOSED:
                    return
        except ProtocolViolation as violation:
            self._violated(violation)
        except Exception:
            # One client's packet must never take the others' connections with it.
            log.exception("connection.failed", client_id=self.session.client_id, peer=self.transport.peer)
            self.close(Reason.UNSPECIFIED_ERROR, "an error of the broker's own")
        if self.alive and self._decoder.failure is not None:
            self._violated(self._decoder.failure)

    def _wait_for(self, answer: Awaitable[None], rest: list[Packet | PubAcks]) -> None:
        self._waiting = rest
        self.pause("busy")
        self.broker.spawn(self._continue(answer))

    async def _continue(self, answer: Awaitable[None]) -> None:
        try:
            await answer
        except ProtocolViolation as violation:
            self._violated(violation)
        except Exception:
            log.exception("connection.failed", client_id=self.session.client_id, peer=self.transport.peer)
            self.close(Reason.UNSPECIFIED_ERROR, "an error of the broker's own")
        self.resume("busy")
        waiting, self._waiting = self._waiting, None
        if self.state is not State.CLOSED:
            # What came right behind the CONNECT is judged by the client's limits.
            self._handle([*(waiting or ()), *self._decoder.feed(b"")])

    def _violated(self, violation: ProtocolViolation) -> None:
        log.info(
            "connection.violation", client_id=self.session.client_id, peer=self.transport.peer, reason=violation.detail
        )
        self.core.stats.refused[violation.reason.name.lower()] += 1
        if self.state is State.NEW and violation.reason is Reason.UNSUPPORTED_PROTOCOL_VERSION:
            self.transport.write(b"\x20\x02\x00\x01")  # what a 3.1.1 client understands [3.1.1 MQTT-3.1.2-2]
            self.end(publish_will=False)
        elif violation.connecting == V5:  # may be answered (5.0 §4.13.1), which helps whoever writes a client
            self.refuse(violation.reason, violation.detail)
        else:
            self.close(violation.reason, violation.detail)

    def _first(self, packet: Packet | PubAcks) -> Awaitable[None] | None:
        if not isinstance(packet, Connect):  # only packets behind a CONNECT that was refused come here
            raise protocol_error("a packet before the connection is open")
        if self.state is not State.NEW:  # [MQTT-3.1.0-2]
            raise protocol_error("a second CONNECT")
        self.version = packet.version
        self.max_packet = packet.properties.get("maximum_packet_size", 0)
        self.state = State.LOGIN
        return self.broker.login(self, packet)

    def opened_as(self, identity: Identity, session: Session, connect: Connect) -> None:
        """Login has succeeded: the broker gives the connection its session."""
        limits = self.core.limits
        self.state = State.OPEN
        self.identity = identity
        self.session = session
        self.will = connect.will
        self.wants_reasons = connect.properties.get("request_problem_information", 1) == 1
        self._decoder.max_packet = limits.max_packet
        if identity.service:
            self.receive_maximum = limits.service_receive_maximum

    def answer(self, packet: Packet) -> None:
        """Queue a packet behind what is already to be sent; one that the client can't take is dropped [MQTT-3.1.2-25]."""
        data = encode_within(packet, self.version, self.max_packet)
        if not data:
            self.core.stats.dropped[DROP_NAMES[Outcome.TOO_LARGE]] += 1
            return
        self.session.out.append(data)
        if not self.session.dirty:
            self.core.touch(self.session)

    def explained(self, detail: str, code: str = "") -> Properties:
        """Properties of an answer that say why; none for who wants none [MQTT-3.1.2-29] or has 3.1.1."""
        return explained(detail, code=code) if self.wants_reasons and self.version == V5 else {}

    def answer_from_disk(self, packet: Packet, then: Callable[[], None] = lambda: None) -> None:
        """Answer once everything that the answer vouches for is on disk, then do the rest."""
        self.vouching += 1

        def written() -> None:
            self.vouching -= 1
            if self.ready:
                self.answer(packet)
                then()

        self.core.durably(written)

    @property
    def answers_refusals(self) -> bool:
        """Whether a publish can be refused in its PUBACK (MQTT 5), rather than by silence or a closed connection."""
        return self.version == V5

    def settle(self, packet_id: int, reason: int, properties: Properties) -> None:
        """The bridge's answer to an ingested publish."""
        settle(self, packet_id, reason, properties)

    # ---- decisions

    async def decide(self, action: Action, topics: list[str]) -> list[bool]:
        """Ask the policy; ask again when a decision fell meanwhile, as the answer may be older than that.

        Raises:
            Undecided: it can't be found out now.
        """
        while True:
            epoch = self._epoch
            answers = await self.core.policy.decide(action, [(self.identity, topic) for topic in topics])
            if epoch == self._epoch:
                return answers

    def remember(self, topic: str, *, granted: bool) -> None:
        """Keep a decision about publishing on a topic."""
        if len(self.grants) >= self.core.limits.grants_cached or self.grants is _NO_GRANTS:
            self.grants = {}
        self.grants[topic] = granted

    def forget(self, scope: str) -> None:
        """Decisions about a scope (`""`: all) no longer hold: ask again."""
        self._epoch += 1
        for topic in list(self.grants):
            if not scope or self.core.policy.scope(topic) == scope:
                del self.grants[topic]

    def end(self, *, publish_will: bool) -> None:
        """The connection is over, without a further word."""
        if self.state is State.CLOSED:
            return
        was_open, self.state = self.state is State.OPEN, State.CLOSED
        self._waiting = None
        self.core.open.discard(self)
        self.transport.close()
        if self.transport.unsent:
            self.core.unsent.leaving.add(self)
        if was_open:
            self.broker.left(self, publish_will=publish_will)


_NO_PAUSES: frozenset[str] = frozenset()
_NO_GRANTS: dict[str, bool] = {}
"""Of those who never published; nobody writes into it. An empty set takes 216 bytes, a dictionary 64, and most clients are idle."""
_NOBODY = Identity("")
_NO_SESSION = Session("", "", uid="")
