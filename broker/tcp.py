"""MQTT over TCP: the shell between a socket and a connection."""

from __future__ import annotations

import asyncio
import contextlib
from ssl import SSLObject
from typing import cast

from broker.broker import Broker
from broker.connection import Connection
from broker.tls import CLOSE_TIMEOUT, certificate_name

LONG_READ = 65_536
"""Bytes of one read after which the others have their turn: about a thousand small publishes, some ten milliseconds.
The loop itself would go on with this socket for 32 reads of 250 KB, a second, while there is something to read."""


class TcpTransport(asyncio.Protocol):
    """One TCP connection.

    Args:
        broker: whose client it is.
        admitted: whether somebody has asked `broker.admission` already.
    """

    __slots__ = ("_admitted", "_broker", "_connection", "_transport", "certificate", "peer", "tls")

    def __init__(self, broker: Broker, *, admitted: bool = False) -> None:
        self.peer = ""
        self.certificate: str | None = None
        self.tls: SSLObject | None = None
        self._broker = broker
        self._admitted = admitted
        self._transport: asyncio.Transport | None = None
        self._connection: Connection | None = None

    # ---- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was opened."""
        stream = self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is registered nowhere
        if not (self._admitted or self._broker.admission.admits(peer_address(transport))):
            stream.abort()
            return
        self.peer = peer_name(transport)
        self.certificate = certificate_name(transport)
        self.tls = transport.get_extra_info("ssl_object")
        stream.set_write_buffer_limits(high=self._broker.core.limits.write_buffer)
        self._connection = self._broker.connect(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._connection is not None:
            self._connection.data_received(data)
            if len(data) >= LONG_READ:
                others_first(self._connection)

    def eof_received(self) -> bool:
        """The client has closed its side: close ours."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's shape; the reason changes nothing
        """The socket is gone."""
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
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is written, then close; after a while, close anyhow."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.close()
        if transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, transport.abort)

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
            with contextlib.suppress(RuntimeError):  # closing already
                self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.resume_reading()


def others_first(connection: Connection) -> None:
    """Read on in the next turn of the loop."""
    if connection.reading and connection.alive:
        connection.pause("turn")
        asyncio.get_running_loop().call_soon(connection.resume, "turn")


def peer_name(transport: asyncio.BaseTransport) -> str:
    """`address:port` of the other end."""
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "unknown"


def peer_address(transport: asyncio.BaseTransport) -> str:
    """The address of the other end, without its port."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else "unknown"


async def serve_tcp(broker: Broker, host: str, port: int) -> asyncio.Server:
    """Listen for MQTT over TCP."""
    return await asyncio.get_running_loop().create_server(lambda: TcpTransport(broker), host, port, backlog=1024)
