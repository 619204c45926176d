"""The connection: paho-mqtt behind a few words, so that nothing else in the SDK knows paho.

paho's network thread calls the `Handler`; its methods must return soon, and must not publish or subscribe themselves (paho holds its
own locks then). Publishing and subscribing is done from other threads.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from clients.python.pacing import backoff

_log = logging.getLogger("pabal.client")

STABLE_SECONDS = 10.0
"""A connection that lasted so long was a good one: the next reconnect starts with a short wait again."""

STOP_SECONDS = 2.0
"""How long a DISCONNECT may take to leave before the socket is cut."""

DENIED = frozenset({0x86, 0x87})
"""CONNACK reason codes that a fresh token may heal: bad user name or password, not authorized."""

FINAL = frozenset({0x81, 0x82, 0x84, 0x85, 0x8A, 0x8C, 0x8E, 0x90, 0x95, 0x99})
"""Reason codes after which reconnecting the same way would only fail, or fight, again: malformed packet, protocol error, unsupported
version, client id not valid, banned, bad method, session taken over, topic invalid, packet too large, payload invalid."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker said to a CONNECT or PUBLISH.

    Attributes:
        reason_code: MQTT 5 (3.1.1's CONNACK codes are translated; its PUBACK is always 0).
        name: the reason code's name in lower case, such as `not_authorized`.
        reason: the reason string, if there is one.
        code: the stable code that the server put into the user property `code`, if there is one.
    """

    reason_code: int
    name: str
    reason: str | None = None
    code: str | None = None

    @property
    def ok(self) -> bool:
        """Whether it was a yes."""
        return self.reason_code < 0x80


class Handler(Protocol):
    """Who uses the connection. Called on the network thread."""

    def up(self, *, session_present: bool) -> None:
        """Connected; everything that was under way is being sent again."""

    def down(self, answer: Answer, *, final: bool) -> None:
        """Disconnected, or not let in; with `final` there will be no further try."""

    def message(self, topic: str, payload: bytes) -> None:
        """A message came in; it is acknowledged when this returns."""


@dataclass(frozen=True, slots=True)
class WireSettings:
    """Where and as whom to connect.

    Attributes:
        password: a token or secret, or a callable that yields a fresh one before each try to connect.
        clean: start without what an older connection of this client id left behind.
        session_expiry: seconds that the broker keeps the session while the client is away (MQTT 5).
        window: publishes under way at once; the broker's Receive Maximum lowers it.
    """

    host: str
    port: int
    username: str
    password: str | Callable[[], str]
    client_id: str
    protocol: Literal[4, 5] = 5
    clean: bool = False
    session_expiry: int = 86_400
    keepalive: int = 30
    window: int = 20
    transport: Literal["tcp", "websockets"] = "tcp"
    tls: ssl.SSLContext | None = None


class Wire:
    """One connection that comes back by itself, with exponential backoff and jitter, until stopped."""

    def __init__(self, settings: WireSettings, handler: Handler) -> None:
        self._settings = settings
        self._handler = handler
        self._leaf = threading.Lock()  # guards the tables below; nothing is called while it is held
        self._publishes: dict[int, Callable[[Answer], None]] = {}
        self._subscribes: dict[int, Future[list[Answer]]] = {}
        self._early: dict[int, Any] = {}  # answers that came before paho had told their packet id
        self._connected = threading.Event()
        self._gone = threading.Event()
        self._gone.set()
        self._stopping = False
        self._window = settings.window
        self._max_packet = 0
        self._attempt = 0
        self._up_since = 0.0
        self._paho = self._make()

    @property
    def room(self) -> int:
        """How many more publishes may be under way now; 0 while disconnected."""
        return max(0, self._window - len(self._publishes)) if self._connected.is_set() else 0

    @property
    def max_packet(self) -> int:
        """The largest packet that the broker takes, in bytes; 0 when it has not said."""
        return self._max_packet

    def start(self) -> None:
        """Connect, and stay connected, in a thread of paho's."""
        settings = self._settings
        properties = None
        if settings.protocol == 5:
            properties = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = settings.session_expiry
        clean_start: Any = (
            settings.clean if settings.protocol == 5 and not settings.clean else paho.MQTT_CLEAN_START_FIRST_ONLY
        )
        self._paho.connect_async(
            settings.host, settings.port, settings.keepalive, clean_start=clean_start, properties=properties
        )
        self._paho.loop_start()

    def stop(self) -> None:
        """Say goodbye and end the thread. What was under way stays unanswered."""
        self._stopping = True
        self._paho.disconnect()
        if not self._gone.wait(STOP_SECONDS) and isinstance(sock := self._paho.socket(), socket.socket):
            with contextlib.suppress(OSError):  # the peer was faster
                sock.shutdown(socket.SHUT_RDWR)
        self._paho.loop_stop()
        self._fail_subscribes()

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        answered: Callable[[Answer], None],
        content_type: str | None = None,
    ) -> bool:
        """Publish at QoS 1; `answered` gets the PUBACK, on the network thread, also after reconnects.

        Returns:
            False when paho did not take it (its packet ids are used up), and `answered` will not be called.
        """
        properties = None
        if content_type is not None and self._settings.protocol == 5:
            properties = _properties(PacketTypes.PUBLISH)
            properties.ContentType = content_type
        info = self._paho.publish(topic, payload, qos=1, properties=properties)
        if info.rc is MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            return False
        with self._leaf:
            early = self._early.pop(info.mid, None)
            if early is None:
                self._publishes[info.mid] = answered
        if early is not None:
            answered(early)
        return True

    def publish_unacknowledged(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0: lost when there is no connection."""
        if self._connected.is_set():
            self._paho.publish(topic, payload, qos=0)

    def subscribe(self, filters: Mapping[str, int]) -> Future[list[Answer]]:
        """Subscribe to filters with their QoS; the answers come in the same order. A lost connection fails it with ConnectionError."""
        future: Future[list[Answer]] = Future()
        rc, mid = self._paho.subscribe(list(filters.items()))
        if rc is not MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            future.set_exception(ConnectionError("not connected"))
            return future
        with self._leaf:
            early = self._early.pop(mid, None)
            if early is None:
                self._subscribes[mid] = future
        if early is not None:
            future.set_result(early)
        elif not self._connected.is_set():
            self._fail_subscribes()  # it was lost before it was registered
        return future

    def unsubscribe(self, filters: list[str]) -> None:
        """Unsubscribe; not answered, and done by the session's end when there is no connection."""
        self._paho.unsubscribe(filters)

    def _make(self) -> paho.Client:
        settings = self._settings
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id,
            clean_session=settings.clean if settings.protocol == 4 else None,
            protocol=MQTTProtocolVersion(settings.protocol),
            transport=settings.transport,
        )
        if settings.transport == "websockets":
            client.ws_set_options(path="/mqtt")
        if settings.tls is not None:
            client.tls_set_context(settings.tls)
        client.max_inflight_messages_set(settings.window)
        client.on_socket_open = _on_socket_open
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        return client

    def _on_pre_connect(self, client: paho.Client, _userdata: object) -> None:
        if self._stopping:
            raise ConnectionError("stopping")  # paho may have begun another try while it was told to disconnect
        password = self._settings.password
        if callable(password):
            try:
                password = password()
            except Exception as error:
                # Whatever the app's callable raises would end paho's thread for good; as an OSError it is one more failed try.
                raise ConnectionError("no token to connect with") from error
        client.username_pw_set(self._settings.username, password)

    def _on_connect(
        self,
        client: paho.Client,
        _userdata: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        answer = _answer(code, properties)
        if self._stopping:
            client.disconnect()
            return
        if not answer.ok:
            final = answer.reason_code in FINAL or (
                answer.reason_code in DENIED and not callable(self._settings.password)
            )
            if final:
                client.disconnect()
            self._handler.down(answer, final=final)
            return
        self._up_since = time.monotonic()
        self._window = min(self._settings.window, getattr(properties, "ReceiveMaximum", 65_535))
        self._max_packet = getattr(properties, "MaximumPacketSize", 0)
        self._gone.clear()
        self._connected.set()
        self._handler.up(session_present=flags.session_present)

    def _on_connect_fail(self, client: paho.Client, _userdata: object) -> None:
        self._pace(client)
        self._handler.down(Answer(0x88, "unreachable"), final=False)

    def _on_disconnect(
        self,
        client: paho.Client,
        _userdata: object,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        was_up = self._connected.is_set()
        self._connected.clear()
        if was_up and time.monotonic() - self._up_since >= STABLE_SECONDS:
            self._attempt = 0
        self._pace(client)
        self._fail_subscribes()
        answer = _answer(code, properties)
        final = self._stopping or (flags.is_disconnect_packet_from_server and answer.reason_code in FINAL)
        if final:
            client.disconnect()
        if was_up:  # a refused CONNECT has been told already
            self._handler.down(answer, final=final)
        self._gone.set()

    def _on_message(self, _client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            _log.warning("message.topic_malformed")
            return
        self._handler.message(topic, bytes(message.payload))

    def _on_publish(
        self, _client: paho.Client, _userdata: object, mid: int, code: ReasonCode, properties: Properties
    ) -> None:
        answer = _answer(code, properties)
        with self._leaf:
            answered = self._publishes.pop(mid, None)
            if answered is None:
                self._early[mid] = answer
        if answered is not None:
            answered(answer)

    def _on_subscribe(
        self, _client: paho.Client, _userdata: object, mid: int, codes: list[ReasonCode], properties: Properties
    ) -> None:
        answers = [_answer(code, properties) for code in codes]
        with self._leaf:
            future = self._subscribes.pop(mid, None)
            if future is None:
                self._early[mid] = answers
        if future is not None:
            future.set_result(answers)

    def _pace(self, client: paho.Client) -> None:
        """Paho doubles its waits without jitter; told both bounds anew before each wait, it waits what we say."""
        wait = backoff(self._attempt)
        self._attempt += 1
        client.reconnect_delay_set(wait, wait)  # type: ignore[arg-type]  # seconds; it adds them to a float

    def _fail_subscribes(self) -> None:
        with self._leaf:
            lost = list(self._subscribes.values())
            self._subscribes.clear()
        for future in lost:
            future.set_exception(ConnectionError("the connection was lost before the answer"))


def _on_socket_open(_client: paho.Client, _userdata: object, sock: object) -> None:
    # Paho leaves Nagle's algorithm on: a PUBACK followed by a PUBLISH would wait for the peer's delayed ACK (40 ms on Linux).
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]  # paho typed all but this


def _answer(code: ReasonCode, properties: Properties | None) -> Answer:
    named = dict(getattr(properties, "UserProperty", ()))
    return Answer(
        reason_code=code.value,
        name=code.getName().lower().replace(" ", "_"),
        reason=getattr(properties, "ReasonString", None),
        code=named.get("code"),
    )
