"""MQTT over WebSocket (5.0 §6): binary frames that carry the same stream of bytes, subprotocol `mqtt`.

The protocol is the sans-IO half of the `websockets` library. Compression is not offered, so a small frame can't become
a large one. Browsers send an Origin; when origins are configured, others are refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from ssl import SSLObject
from typing import cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from broker.broker import Broker
from broker.connection import Connection
from broker.limits import Limits
from broker.tcp import LONG_READ, others_first, peer_address, peer_name
from broker.tls import CLOSE_TIMEOUT, certificate_name
from mqtt.codec import Decoder

_HEADER = 5
"""Bytes of the longest fixed header."""


class _Protocol(ServerProtocol):
    """Takes larger frames behind a first one that is a whole CONNECT: reading pauses there until the client is let in, so no
    more of them is kept than the same read brought. The limit that holds then is set when reading goes on.

    Args:
        origins: as `ServerProtocol`.
        limits: the size of a frame before and behind that.
    """

    def __init__(self, origins: Sequence[Origin] | None, limits: Limits) -> None:
        super().__init__(
            subprotocols=[Subprotocol("mqtt")], origins=origins, max_size=limits.max_connect_packet + _HEADER
        )
        self._limits = limits
        self._first = True

    def recv_frame(self, frame: Frame) -> None:
        """A frame came; those behind it have not been looked at."""
        super().recv_frame(frame)
        if self._first and frame.opcode in (Opcode.BINARY, Opcode.TEXT):
            self._first = False
            if Decoder(max_packet=self._limits.max_connect_packet).feed(bytes(frame.data)):
                self.max_size = self._limits.max_packet + _HEADER


class WebSocketTransport(asyncio.Protocol):
    """One WebSocket connection.

    Args:
        broker: whose client it is.
        path: the one path that speaks MQTT.
        origins: Origins that browsers may come from; None for any.
        admitted: whether somebody has asked `broker.admission` already.
    """

    peer = ""
    certificate: str | None = None
    tls: SSLObject | None = None

    def __init__(self, broker: Broker, path: str, origins: Sequence[str] | None, *, admitted: bool = False) -> None:
        self._broker = broker
        self._admitted = admitted
        self._shaking = False
        self._path = path
        allowed = [Origin(origin) for origin in origins] if origins is not None else None
        self._protocol = _Protocol(allowed, broker.core.limits)
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None
        self._timeout: asyncio.TimerHandle | None = None

    # ---- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was opened; the handshake has as long as a CONNECT."""
        stream = self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is registered nowhere
        admission, limits = self._broker.admission, self._broker.core.limits
        if not (self._admitted or admission.admits(peer_address(transport))):
            stream.abort()
            return
        self.peer = peer_name(transport)
        self.certificate = certificate_name(transport)
        self.tls = transport.get_extra_info("ssl_object")
        stream.set_write_buffer_limits(high=limits.write_buffer)
        self._shaking = True
        admission.shaking += 1
        self._timeout = asyncio.get_running_loop().call_later(limits.connect_timeout, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Bytes came: handshake or frames."""
        if self._connection is not None and self._connection.ready:
            self._protocol.max_size = self._broker.core.limits.max_packet + _HEADER
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._handshake(event)
            elif isinstance(event, Frame) and not self._frame(event):
                break
        self._send()
        if len(data) >= LONG_READ and self._connection is not None:
            others_first(self._connection)

    def eof_received(self) -> bool:
        """The client has closed its side: close ours."""
        self._protocol.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's shape
        """The socket is gone."""
        self._shaken()
        if self._connection is not None:
            self._connection.lost()
        self._transport = self._connection = None  # they point at each other: without this, garbage

    def pause_writing(self) -> None:
        """The client doesn't read what it is sent."""
        if self._connection is not None:
            self._connection.write_paused()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._connection is not None:
            self._connection.write_resumed()

    # ---- called by the connection

    def write(self, data: bytes) -> None:
        """Send bytes as one binary frame."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(data)
            self._send()

    def close(self) -> None:
        """Close frame, then close; after a while, close anyhow."""
        if self._transport is None:
            return
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._send()
        self._transport.close()
        asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self.abort)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def unsent(self) -> int:
        """Bytes that the system has not taken yet."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def pause(self) -> None:
        """Read nothing."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.resume_reading()

    # ---- inside

    def _handshake(self, request: Request) -> None:
        if request.path.partition("?")[0] != self._path:
            response = self._protocol.reject(404, f"MQTT is spoken at {self._path}\n")
        else:
            response = self._protocol.accept(request)
            if response.status_code == 101 and self._protocol.subprotocol is None:  # [MQTT-6.0.0-3, -4]
                response = self._protocol.reject(400, "the subprotocol must be mqtt\n")
        self._protocol.send_response(response)
        self._shaken()
        if self._protocol.state is State.OPEN:
            self._connection = self._broker.connect(self)
        else:
            self._broker.core.stats.connects["websocket_refused"] += 1
            self._send()
            self.close()

    def _shaken(self) -> None:
        """The handshake is over, one way or the other."""
        if self._timeout is not None:
            self._timeout.cancel()
        if self._shaking:
            self._shaking = False
            self._broker.admission.shaking -= 1

    def _too_late(self) -> None:
        self._broker.core.stats.connects["timeout"] += 1
        self.abort()

    def _frame(self, frame: Frame) -> bool:
        """Frames need not be aligned with packets [MQTT-6.0.0-2]; only binary ones carry MQTT [MQTT-6.0.0-1].

        False when nothing behind it counts.
        """
        if frame.opcode is Opcode.TEXT:
            self._broker.core.stats.refused["websocket_text"] += 1
            self._protocol.fail(CloseCode.UNSUPPORTED_DATA, "binary frames only")
            return False
        if frame.opcode in (Opcode.BINARY, Opcode.CONT) and self._connection is not None:
            self._connection.data_received(bytes(frame.data))
        return True

    def _send(self) -> None:
        transport = self._transport
        if transport is None:
            return
        for data in self._protocol.data_to_send():
            if data:
                transport.write(data)
        if self._protocol.close_expected() or self._protocol.parser_exc is not None:  # nothing is read any more
            transport.close()


async def serve_websocket(
    broker: Broker, host: str, port: int, *, path: str = "/mqtt", origins: Sequence[str] | None = None
) -> asyncio.Server:
    """Listen for MQTT over WebSocket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: WebSocketTransport(broker, path, origins), host, port, backlog=1024)
