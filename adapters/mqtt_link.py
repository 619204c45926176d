"""The link of a service to the broker: `chat.ports.Link` over MQTT 5 and TCP, reconnecting by itself.

Every connection starts a clean session that ends with it. What was unsettled then is delivered again by the broker (to
another member of the share group) or sent again by its publisher, and P4 makes that harmless; so no session state has to
survive here.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from adapters.backoff import Backoff
from adapters.mqtt_connection import ConnectionOptions, ConnectionRefused, MqttConnection
from chat.errors import Unavailable
from chat.ports import MARK, Delivery, Parcel, Published
from chat.tracing import TRACEPARENT, TraceContext
from mqtt.codec import V5, publish_parts
from mqtt.packets import Properties
from mqtt.properties import encode_properties

CONNECT_SECONDS = 5.0
"""For TCP, CONNACK and SUBACK together."""

STABLE_SECONDS = 10.0
"""A connection that lasted so long was a good one: the next series of tries starts small again."""

GOODBYE_SECONDS = 2.0
"""How long the last bytes may take when the link is closed."""

TAKEN_OVER = "another process uses this client id: give each an instance name of its own, or none"

_log = structlog.get_logger("link")


def instance_name() -> str:
    """A name that no other process has, for client ids: the host, for people to find it, and 32 random bits.

    The host alone is not enough, nor with the process id: containers may share both. A name that survived a restart would bring nothing:
    the broker sees the socket of a killed process close at once, and a session ends with its connection.
    """
    host = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in socket.gethostname())
    return f"{host[:48]}-{secrets.token_hex(4)}"


class MqttLink:
    """A service's connection to the broker.

    Args:
        host: of the broker's TCP listener.
        port: of it.
        principal: `svc-…`, the user name.
        secret: the service's password.
        client_id: `{principal}` or `{principal}:{instance}`; two links with one client id throw each other out.
        receive_maximum: how many deliveries may be unsettled at once: the bound of what this process holds.
        keep_alive: seconds.
        max_packet: the largest packet taken, in bytes.
        backoff: the delays between connects.

    Attributes:
        on_up: called each time when the link is up; what was published to others meanwhile was missed.
    """

    def __init__(
        self,
        host: str,
        port: int,
        principal: str,
        secret: str | bytes,
        client_id: str,
        *,
        receive_maximum: int = 10_000,
        keep_alive: int = 20,
        max_packet: int = 1 << 20,
        backoff: Backoff | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._options = ConnectionOptions(
            client_id=client_id,
            username=principal,
            secret=secret.encode() if isinstance(secret, str) else secret,
            receive_maximum=receive_maximum,
            keep_alive=keep_alive,
            max_packet=max_packet,
        )
        self._backoff = backoff or Backoff(first=0.1, most=3.0)
        self._connection: MqttConnection | None = None
        self.on_up: Callable[[], None] = _nothing

    @property
    def connected(self) -> bool:
        """Whether the link is up now: accepted, and subscribed to all that `run` was given."""
        return self._connection is not None and not self._connection.lost.done()

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
        """Send one message; see `chat.ports.Link.publish`. Messages leave in the order of the calls.

        Beyond the broker's receive maximum they wait here, bounded (`mqtt_connection.MAX_WAITING`).
        """
        connection = self._connection
        if connection is None:
            return _only(_nothing_sent(1))
        block: Properties = {}
        if content_type is not None:
            block["content_type"] = content_type
        if properties:
            block["user_property"] = list(properties.items())
        parts = publish_parts(topic, payload, qos=qos, retain=retain, version=V5, properties=block)
        return _only(connection.publish([parts], qos=qos))

    def publish_all(
        self, parcels: Sequence[Parcel], *, traces: Mapping[int, TraceContext] | None = None
    ) -> Awaitable[Sequence[Published | None]]:
        """See `chat.ports.Link.publish_all`."""
        connection = self._connection
        if connection is None:
            return _nothing_sent(len(parcels))
        parts = [
            publish_parts(topic, payload, 1, False, V5)
            if mark is None
            else publish_parts(topic, payload, 1, False, V5, block=_marked(mark))
            for topic, payload, mark in parcels
        ]
        if traces:
            for index, trace in traces.items():
                topic, payload, mark = parcels[index]
                parts[index] = publish_parts(topic, payload, 1, False, V5, _traced(mark, trace))
        return connection.publish(parts, qos=1)

    async def run(self, filters: Sequence[str], receive: Callable[[list[Delivery]], None]) -> None:
        """Stay connected until cancelled; see `chat.ports.Link.run`."""
        while True:
            try:
                await self._one_connection(filters, receive)
            except (ConnectionRefused, TimeoutError, OSError) as error:
                _log.warning("link.refused", host=self._host, port=self._port, why=str(error) or type(error).__name__)
            await asyncio.sleep(self._backoff.next())

    async def _one_connection(self, filters: Sequence[str], receive: Callable[[list[Delivery]], None]) -> None:
        loop = asyncio.get_running_loop()
        connection = MqttConnection(self._options, receive)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: connection, self._host, self._port)
                await connection.establish(filters)
            since = loop.time()
            self._connection = connection
            self.on_up()
            _log.info("link.up", host=self._host, port=self._port, client_id=self._options.client_id)
            why = await asyncio.shield(connection.lost)
            if connection.taken_over:
                _log.error("link.taken_over", client_id=self._options.client_id, todo=TAKEN_OVER)
            else:
                _log.warning("link.down", why=why)
            if loop.time() - since >= STABLE_SECONDS:
                self._backoff.reset()
        except asyncio.CancelledError:
            await self._goodbye(connection)
            raise
        finally:
            self._connection = None
            connection.abort("given up")

    @staticmethod
    async def _goodbye(connection: MqttConnection) -> None:
        if connection.disconnect():
            await asyncio.wait({connection.lost}, timeout=GOODBYE_SECONDS)


_MARK = encode_properties({"user_property": [(MARK, "")]})[1:-2]
"""The user property up to the length of its value."""


def _marked(mark: int) -> bytes:
    """The property block that is nothing but a mark."""
    value = b"%d" % mark
    return b"%c%b\0%c%b" % (len(_MARK) + 2 + len(value), _MARK, len(value), value)


def _traced(mark: int | None, trace: TraceContext) -> Properties:
    """A mark, if there is one, and the span that the message belongs to."""
    stamp = [] if mark is None else [(MARK, str(mark))]
    return {"user_property": [*stamp, (TRACEPARENT, trace.traceparent)]}


def _nothing() -> None:
    """Nobody wants to know."""


def _nothing_sent(count: int) -> asyncio.Future[list[Published | None]]:
    answers: asyncio.Future[list[Published | None]] = asyncio.get_running_loop().create_future()
    answers.set_result([None] * count)
    return answers


def _only(answers: asyncio.Future[list[Published | None]]) -> asyncio.Future[Published]:
    """The answer to a publish that was made alone."""
    only: asyncio.Future[Published] = answers.get_loop().create_future()

    def answered(_: asyncio.Future[list[Published | None]]) -> None:
        if only.done():  # whoever published was cancelled
            return
        (answer,) = answers.result()
        if answer is None:
            only.set_exception(Unavailable("the connection to the broker went down, or takes no more"))
            only.exception()  # nobody need ask
        else:
            only.set_result(answer)

    if answers.done():
        answered(answers)
    else:
        answers.add_done_callback(answered)
    return only
