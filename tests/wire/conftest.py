"""A running broker of its own (`python -m broker --open`) and a client that is nothing but a socket: raw bytes in, raw bytes out."""

from __future__ import annotations

import itertools
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import psutil
import pytest

from mqtt.codec import Decoder
from mqtt.packets import Packet
from stack.ports import free_port
from tests.conftest import running
from tests.corpus import connect

PATIENCE = 15.0
"""Seconds until a test gives up on an answer; nothing is measured with it."""

CONNACK4 = b"\x20\x02\x00\x00"
CONNACK4_PRESENT = b"\x20\x02\x01\x00"
CONNACK5 = b"\x20\x11\x00\x00\x0e\x21\x03\xe8\x27\x00\x04\x00\x00\x22\x00\x10\x13\x02\x58"
"""Receive maximum 1000, maximum packet size 262144, 16 topic aliases, server keep alive 600 (as the client named none)."""
PING, PONG = b"\xc0\x00", b"\xd0\x00"


class Wire:
    """One connection."""

    def __init__(self, port: int, *, version: int = 4) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.version = version

    def send(self, *wire: bytes) -> None:
        self.sock.sendall(b"".join(wire))

    def packet(self) -> bytes:
        """The next packet, as it came."""
        head = self._take(2)
        length, shift = head[1] & 0x7F, 7
        while head[-1] & 0x80:
            head += self._take(1)
            length |= (head[-1] & 0x7F) << shift
            shift += 7
        return head + self._take(length)

    def expect(self, *wire: bytes) -> None:
        """These packets come next, and in this order."""
        for each in wire:
            assert self.packet() == each

    def read(self) -> Packet:
        """The next packet, read."""
        decoder = Decoder(version=self.version)
        (packet,) = decoder.feed(self.packet())
        return packet

    def quiet(self) -> None:
        """Nothing has come since: what was sent before stands before the answer to a ping."""
        self.send(PING)
        self.expect(PONG)

    def ended(self) -> None:
        """The broker closes, and sends nothing more before."""
        try:
            assert self.sock.recv(1000) == b""
        except ConnectionResetError:
            return

    def close(self) -> None:
        self.sock.close()

    def vanish(self) -> None:
        """Go without a word."""
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise EOFError(f"the broker closed the connection; {data!r} came before")
            data += more
        return data


@dataclass
class Running:
    """A broker that runs, and the connections of one test."""

    port: int
    ws_port: int
    pid: int
    wires: list[Wire] = field(default_factory=list)
    _names: Iterator[int] = field(default_factory=itertools.count)

    def name(self) -> str:
        """A client id or topic that nobody has used before."""
        return f"n{next(self._names)}"

    def wire(self, *, version: int = 4) -> Wire:
        """A connection on which nothing has been said."""
        made = Wire(self.port, version=version)
        self.wires.append(made)
        return made

    def v4(
        self,
        client_id: str | None = None,
        *,
        clean: bool = True,
        keep_alive: int = 0,
        flags: int = 0,
        rest: bytes = b"",
    ) -> Wire:
        """A 3.1.1 client that was let in to a new session."""
        made = self.wire()
        name = client_id or self.name()
        made.send(connect(name, level=4, flags=flags | clean << 1, keep_alive=keep_alive, rest=rest))
        made.expect(CONNACK4)
        return made

    def v5(
        self, client_id: str | None = None, *, clean: bool = True, block: bytes = b"", flags: int = 0, rest: bytes = b""
    ) -> Wire:
        """The same with MQTT 5; its CONNACK has been read."""
        made = self.wire(version=5)
        made.send(connect(client_id or self.name(), flags=flags | clean << 1, block=block, rest=rest))
        answer = made.packet()
        assert (answer[0], answer[3]) == (0x20, 0), answer
        return made


Start = Callable[..., AbstractContextManager[Running]]


@contextmanager
def start_broker(directory: Path, arguments: Sequence[str] = (), **limits: object) -> Iterator[Running]:
    """Run a broker until the block ends, with limits of its own (`max_packet=2048`) and sessions on disk."""
    port, ws_port = free_port(), free_port()
    argv = [sys.executable, "-m", "broker", "--open"]
    argv += ["--bind", f"127.0.0.1:{port}", "--bind-ws", f"127.0.0.1:{ws_port}"]
    argv += ["--state", str(directory / f"state-{port}"), *arguments]

    def ready() -> str | None:
        for each in (port, ws_port):
            try:
                socket.create_connection(("127.0.0.1", each), timeout=1).close()
            except OSError as error:
                return str(error)
        return None

    settings = {f"PABAL_BROKER_LIMIT_{name.upper()}": str(value) for name, value in limits.items()}
    with mock.patch.dict(os.environ, settings), running(argv, directory / f"broker-{port}.log", ready=ready) as process:
        broker = Running(port, ws_port, process.pid)
        yield broker
    assert process.returncode == 0
    assert not psutil.pid_exists(broker.pid)


@pytest.fixture(scope="session")
def shared_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with start_broker(tmp_path_factory.mktemp("wire"), ["--deny", "denied/#"]) as broker:
        yield broker


@pytest.fixture
def broker(shared_broker: Running) -> Iterator[Running]:
    """The broker that all tests share; their connections end with them. Denied: `denied/#`."""
    yield shared_broker
    while shared_broker.wires:
        shared_broker.wires.pop().close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A factory of brokers with limits of their own."""
    with ExitStack() as stack:

        @contextmanager
        def factory(arguments: Sequence[str] = (), **limits: object) -> Iterator[Running]:
            with start_broker(tmp_path, arguments, **limits) as running_broker:
                stack.callback(lambda: [wire.close() for wire in running_broker.wires])
                yield running_broker

        yield factory
