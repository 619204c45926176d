"""One MQTT 5 connection of a service to the broker: handshake, windows, acknowledgements. `adapters.mqtt_link` reconnects.

The work is batched: every packet that a read brought is parsed at once and its deliveries are handed over as one list; what
is written during one turn of the loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec

from adapters.mqtt_flights import TAKEN, Flight, Waiting
from chat.ports import Delivery, Published
from mqtt.codec import V5, Decoder, encode
from mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    Properties,
    PubAck,
    PubAcks,
    Publish,
    SubAck,
    Subscribe,
)
from mqtt.reasons import Reason
from mqtt.wire import PACKET_IDS

MAX_WINDOW = 32_767
"""Publishes under way at most, whatever the broker allows: half of the packet ids, so that a free one is found at once."""

MAX_WAITING = 50_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Publishes that wait for the broker's window, in messages and bytes; beyond them publishing is `Unavailable`."""

_PUBACK_OK = b"\x40\x02"
_TOO_LARGE = Published(Reason.PACKET_TOO_LARGE, "the broker takes no packet of this size", "too_large")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What a connection asks of the broker.

    Attributes:
        secret: the service's password.
        receive_maximum: how many deliveries may be unsettled at once; the broker waits beyond them.
        keep_alive: seconds; a ping leaves every half of it, and a peer that is silent for one and a half is dead.
        max_packet: the largest packet taken, in bytes.
    """

    client_id: str
    username: str
    secret: bytes
    receive_maximum: int
    keep_alive: int
    max_packet: int


class ConnectionRefused(Exception):
    """The broker does not take the connection or one of its subscriptions. `args[0]` says why."""


class _Settle(msgspec.Struct, gc=False):
    """Settles one delivery, once: a second call, or one after the connection is gone, does nothing.

    Once matters: the broker may use the packet id again as soon as it has the first PUBACK.
    """

    connection: MqttConnection | None
    packet_id: int

    def __call__(self, reason_code: int, reason: str | None, code: str | None) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        if reason_code:
            connection.refuse(self.packet_id, reason_code, reason, code)
        else:
            connection.take(self.packet_id)


def _nothing_to_settle(_reason_code: int, _reason: str | None, _code: str | None) -> None:
    """QoS 0 has no answer."""


class MqttConnection(asyncio.Protocol):
    """From the TCP connection to its end; never used twice.

    Args:
        options: see `ConnectionOptions`.
        receive: takes the deliveries of one read.

    Attributes:
        lost: done, with the reason as text, when the connection is gone.
        taken_over: it is gone because somebody else connected with our client id.
    """

    def __init__(self, options: ConnectionOptions, receive: Callable[[list[Delivery]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._receive = receive
        self._decoder = Decoder(version=V5, max_packet=options.max_packet)
        self._transport: asyncio.Transport | None = None
        self._why = "closed by the broker"
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.taken_over = False
        # handshake
        self._connack: asyncio.Future[ConnAck] = self._loop.create_future()
        self._suback: asyncio.Future[SubAck] = self._loop.create_future()
        # out
        self._out: list[bytes] = []
        self._flushing = False
        self._paused = False
        self._window = 0
        self._broker_max_packet = 0
        self._inflight: dict[int, tuple[Flight, int]] = {}
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._last_id = 0
        # in
        self._unsettled = 0
        self._heard_at = 0.0
        self._keep_alive = options.keep_alive
        self._timer: asyncio.TimerHandle | None = None

    # -- handshake -------------------------------------------------------------------------------------------------

    async def establish(self, filters: Sequence[str]) -> None:
        """CONNECT, and SUBSCRIBE when there is something to subscribe to.

        Raises:
            ConnectionRefused: the broker says no, or goes away meanwhile.
        """
        options = self._options
        properties: Properties = {
            "session_expiry_interval": 0,
            "receive_maximum": options.receive_maximum,
            "maximum_packet_size": options.max_packet,
        }
        # A clean session: what was unsettled comes again from the broker or its publisher, and P4 makes that harmless.
        self._write(
            encode(
                Connect(
                    options.client_id,
                    keep_alive=options.keep_alive,
                    username=options.username,
                    password=options.secret,
                    properties=properties,
                ),
                V5,
            )
        )
        self._accepted(await self._answer(self._connack))
        if filters:
            self._write(encode(Subscribe(1, [Filter(text, qos=1) for text in filters]), V5))
            reasons = (await self._answer(self._suback)).reasons
            refused = [text for text, reason in zip(filters, reasons, strict=False) if reason >= 0x80]
            if refused or len(reasons) != len(filters):
                raise ConnectionRefused(f"the broker refuses to subscribe {refused or list(filters)}")
        self._heard_at = self._loop.time()
        if self._keep_alive:
            self._tick()

    async def _answer(self, future: asyncio.Future[T]) -> T:
        either: set[asyncio.Future[Any]] = {future, self.lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise ConnectionRefused(f"the connection ended during the handshake: {self._why}")
        return future.result()

    def _accepted(self, connack: ConnAck) -> None:
        if connack.reason:
            raise ConnectionRefused(f"CONNACK 0x{connack.reason:02x} {connack.properties.get('reason_string', '')}")
        properties = connack.properties
        self._window = min(MAX_WINDOW, properties.get("receive_maximum", MAX_WINDOW))
        self._broker_max_packet = properties.get("maximum_packet_size", 0)
        self._keep_alive = properties.get("server_keep_alive", self._keep_alive)

    # -- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP is up."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """Parse all that came, then hand over all that was delivered."""
        self._heard_at = self._loop.time()
        deliveries: list[Delivery] = []
        for packet in self._decoder.feed_all(data):
            if type(packet) is Publish:
                deliveries.append(self._delivery(packet))
            elif type(packet) is PubAcks:
                self._taken(packet)
            elif type(packet) is PubAck:
                self._acknowledged(packet)
            else:
                self._control(packet)
        if self._waiting:
            self._send_waiting()
        if self._decoder.failure is not None:
            self.abort(f"the broker broke the protocol: {self._decoder.failure}")
        elif self._unsettled > self._options.receive_maximum:
            self.abort("the broker passed our receive maximum")
        elif deliveries:
            self._receive(deliveries)

    def pause_writing(self) -> None:
        """The socket is full: publishes wait; acknowledgements (small, and bounded by the receive maximum) do not."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket takes more."""
        self._paused = False
        self._send_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Everything that was not answered is `Unavailable`, oldest first."""
        if exc is not None:
            self._why = f"{type(exc).__name__}: {exc}"
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        unanswered = [*self._inflight.values(), *((entry.flight, entry.number) for entry in self._waiting)]
        self._inflight.clear()
        self._waiting.clear()
        for flight, index in unanswered:
            flight.answered(index, None)
        if not self.lost.done():
            self.lost.set_result(self._why)

    # -- publishing ------------------------------------------------------------------------------------------------

    def publish(self, parts: Sequence[tuple[bytes, bytes]], *, qos: int) -> asyncio.Future[list[Published | None]]:
        """Send PUBLISH packets.

        Args:
            parts: the two parts of each (see `mqtt.encode.publish_parts`); with QoS 1 a packet id goes between them.
            qos: of all of them.

        Returns: see `chat.ports.Link.publish_all`.
        """
        flight = Flight(len(parts), self._loop.create_future())
        if not parts:
            flight.done.set_result([])
        elif self._transport is None or self._transport.is_closing():
            flight.done.set_result([None] * len(parts))
        else:
            largest = self._broker_max_packet or sys.maxsize
            for index, (head, tail) in enumerate(parts):
                size = len(head) + len(tail) + 2
                if size > largest:
                    flight.answered(index, _TOO_LARGE)
                elif qos == 0:
                    self._write(head + tail)
                    flight.count_down()
                elif self._waiting or self._paused or len(self._inflight) >= self._window:
                    self._wait(Waiting(head, tail, flight, index), size)
                else:
                    self._send(head, tail, flight, index)
        return flight.done

    def _wait(self, entry: Waiting, size: int) -> None:
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            entry.flight.answered(entry.number, None)
            return
        self._waiting_bytes += size
        self._waiting.append(entry)

    def _send(self, head: bytes, tail: bytes, flight: Flight, index: int) -> None:
        packet_id = self._last_id % 65_535 + 1
        while packet_id in self._inflight:
            packet_id = packet_id % 65_535 + 1
        self._last_id = packet_id
        self._inflight[packet_id] = flight, index
        self._out += (head, PACKET_IDS[packet_id], tail)
        if not self._flushing:
            self._schedule_flush()

    def _send_waiting(self) -> None:
        while self._waiting and not self._paused and len(self._inflight) < self._window:
            entry = self._waiting.popleft()
            self._waiting_bytes -= len(entry.head) + len(entry.tail) + 2
            if not entry.flight.done.done():  # whoever published may have been cancelled
                self._send(*entry)

    def _taken(self, packet: PubAcks) -> None:
        """A run of plain PUBACKs."""
        pop = self._inflight.pop
        for packet_id in packet.packet_ids:
            entry = pop(packet_id, None)
            if entry is not None:
                entry[0].count_down()

    def _acknowledged(self, packet: PubAck) -> None:
        entry = self._inflight.pop(packet.packet_id, None)
        if entry is None:
            return
        answer = TAKEN
        if packet.reason:
            code = dict(packet.properties.get("user_property", ())).get("code")
            answer = Published(packet.reason, packet.properties.get("reason_string"), code)
        entry[0].answered(entry[1], answer)

    # -- deliveries ------------------------------------------------------------------------------------------------

    def _delivery(self, packet: Publish) -> Delivery:
        properties = packet.properties
        settle: Callable[[int, str | None, str | None], None] = _nothing_to_settle
        if packet.qos:
            self._unsettled += 1
            settle = _Settle(self, packet.packet_id)
        if not properties:
            return Delivery(packet.topic, packet.payload, packet.qos, settle)
        return Delivery(
            packet.topic,
            packet.payload,
            packet.qos,
            settle,
            properties.get("content_type"),
            dict(properties["user_property"]) if "user_property" in properties else {},
        )

    def take(self, packet_id: int) -> None:
        """Acknowledge a delivery; nothing happens when the connection is gone."""
        if self._transport is None:
            return
        self._unsettled -= 1
        self._out += (_PUBACK_OK, PACKET_IDS[packet_id])
        if not self._flushing:
            self._schedule_flush()

    def refuse(self, packet_id: int, reason_code: int, reason: str | None, code: str | None) -> None:
        """Acknowledge a delivery with a refusal; nothing happens when the connection is gone."""
        if self._transport is None:
            return
        self._unsettled -= 1
        properties: Properties = {}
        if reason is not None:
            properties["reason_string"] = reason
        if code is not None:
            properties["user_property"] = [("code", code)]
        self._write(encode(PubAck(packet_id, reason_code, properties), V5))

    # -- the rest --------------------------------------------------------------------------------------------------

    def _control(self, packet: Packet | PubAcks) -> None:
        if isinstance(packet, ConnAck) and not self._connack.done():
            self._connack.set_result(packet)
        elif isinstance(packet, SubAck) and not self._suback.done():
            self._suback.set_result(packet)
        elif isinstance(packet, Disconnect):
            self.taken_over = packet.reason == Reason.SESSION_TAKEN_OVER
            self.abort(f"DISCONNECT 0x{packet.reason:02x} {packet.properties.get('reason_string', '')}")
        elif not isinstance(packet, PingResp):
            self.abort(f"an unexpected {type(packet).__name__}")

    def _tick(self) -> None:
        """Ping, and give up a peer that is silent for one and a half keepalives."""
        if self._loop.time() - self._heard_at > 1.5 * self._keep_alive:
            self.abort("the broker is silent")
            return
        self._write(encode(PingReq(), V5))
        self._timer = self._loop.call_later(max(0.05, self._keep_alive / 2), self._tick)

    def _write(self, data: bytes) -> None:
        self._out.append(data)
        if not self._flushing:
            self._schedule_flush()

    def _schedule_flush(self) -> None:
        self._flushing = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def abort(self, why: str) -> None:
        """Cut the connection at once."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    def disconnect(self) -> bool:
        """Say goodbye and close once everything is written; False when there is no connection."""
        if self._transport is None:
            return False
        self._why = "disconnected"
        self._write(encode(Disconnect(), V5))
        self._flush()
        self._transport.close()
        return True
