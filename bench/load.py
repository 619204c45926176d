"""The load generator of the broker comparison: one thread, epoll, plain sockets.

It must not be the bottleneck of what it measures, so it pays per read and not per packet: runs of packets are handled at
once (`bench.runs`), their acknowledgements are made and sent as one piece. Where a broker answers packet by packet, each
packet would be a read; `Engine.pause` lets answers gather for a moment before they are read. Its CPU stands beside each figure.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from bench.runs import Run, runs
from bench.ws import Unframer, framed, handshake
from mqtt.codec import V5, encode
from mqtt.packets import Connect, Filter, Properties, Subscribe
from mqtt.wire import PACKET_IDS, encode_string, encode_varint

AT_ONCE = 50
"""Connections under way at once: below the backlog of a listening socket, beyond which SYNs are lost for a second."""
_STAMP = struct.Struct("<d")
_READ = 256 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect to; with a path, by WebSocket."""

    port: int
    path: str = ""
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Who:
    """Who connects, and what for.

    Attributes:
        filters: are subscribed to at once.
        keep: the session outlives the connection.
    """

    client_id: str
    username: str
    password: bytes
    version: int = 4
    filters: tuple[str, ...] = ()
    qos: int = 1
    keep: bool = False

    def packets(self) -> bytes:
        """CONNECT."""
        properties: Properties = {"session_expiry_interval": 3600} if self.keep and self.version == V5 else {}
        packet = Connect(
            self.client_id,
            version=self.version,
            clean_start=not self.keep,
            keep_alive=0,
            username=self.username,
            password=self.password,
            properties=properties,
        )
        return encode(packet, self.version)


@dataclass(slots=True)
class Tally:
    """What a group of connections saw.

    Attributes:
        received: PUBLISH packets.
        acked: publishes that were answered (QoS 1, 2).
        refused: of those, with a reason code of 0x80 and above.
        delays: seconds from publish to delivery.
        latencies: seconds from publish to the last acknowledgement.
    """

    received: int = 0
    acked: int = 0
    refused: int = 0
    delays: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)


class Connection:
    """One client.

    Args:
        engine: reads for it.
        target: the broker.
        who: logs in, and subscribes.
        tally: counts what it sees; may be shared.
    """

    def __init__(self, engine: Engine, target: Target, who: Who, tally: Tally) -> None:
        self._engine, self._who, self._tally = engine, who, tally
        self._socket = socket.create_connection((target.host, target.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._unframer = Unframer() if target.path else None
        self._unsent = b""
        self._rest = b""
        self._id = 0
        self._sent: dict[int, float] = {}
        self._left = 0
        self._message = (b"", b"", b"")
        self._qos = 1
        self._answers_make_room = True
        self.began = time.perf_counter()
        self.let_in = 0.0
        """Seconds until CONNACK."""
        self.ready = False
        self.on_received: Callable[[int], None] | None = None
        engine.add(self._socket.fileno(), self)
        if self._unframer is None:
            self._send(who.packets())
        else:
            self._push(handshake(f"{target.host}:{target.port}", target.path))

    def close(self) -> None:
        """Hang up."""
        self._engine.remove(self._socket.fileno())
        self._socket.close()

    # ---- publishing

    def publish(
        self, topic: str, payload: int, *, qos: int, count: int, window: int, answers_make_room: bool = True
    ) -> None:
        """Send `count` messages of `payload` bytes, `window` at a time; more as they are answered, or by `credit`."""
        head = bytes((0x30 | qos << 1,))
        properties = b"\0" if self._who.version == V5 else b""
        name = encode_string(topic)
        length = len(name) + (2 if qos else 0) + len(properties) + payload
        filler = b"m" * (payload - _STAMP.size)
        self._message = (head + encode_varint(length) + name, properties, filler)
        self._qos, self._left, self._answers_make_room = qos, count, answers_make_room
        self.credit(window)

    def credit(self, room: int) -> None:
        """Send so many more."""
        room = min(room, self._left)
        if not room:
            return
        self._left -= room
        head, properties, filler = self._message
        now = time.perf_counter()
        tail = b"".join((properties, _STAMP.pack(now), filler))
        if not self._qos:
            self._send((head + tail) * room)
            return
        out: list[bytes] = []
        for _ in range(room):
            self._id = self._id % 65_535 + 1
            self._sent[self._id] = now
            out += (head, PACKET_IDS[self._id], tail)
        self._send(b"".join(out))

    # ---- called by the engine

    def readable(self, buffer: bytearray, view: memoryview) -> None:
        """Read once, and handle all that is whole."""
        if self._unframer is not None:
            self._read_frames(self._unframer)
            return
        kept = len(self._rest)
        if kept:
            buffer[:kept] = self._rest
        size = kept + self._receive(view[kept:])
        self._walk(buffer, size)

    def _read_frames(self, unframer: Unframer) -> None:
        opened = unframer.open
        data = bytearray(_READ // 4)
        size = self._receive(memoryview(data))
        data = bytearray(self._rest + unframer.feed(bytes(data[:size])))
        if unframer.open and not opened:
            self._send(self._who.packets())
        self._walk(data, len(data))

    def _receive(self, view: memoryview) -> int:
        size = self._socket.recv_into(view)
        if not size:
            raise ConnectionError(f"the broker closed the connection of {self._who.client_id}")
        return size

    def _walk(self, data: bytearray, size: int) -> None:
        end = 0
        acks: list[bytes] = []
        for run in runs(data, size):
            end = run.end
            kind = run.first >> 4
            if kind == 3:
                self._taken(run, data, acks)
            elif kind in (4, 7):
                self._answered(run, data)
            elif kind == 5:
                acks.append(_answers(0x62, run, data, run.body))
            elif kind == 6:
                acks.append(_answers(0x70, run, data, run.body))
            else:
                self._other(kind, run, data)
        self._rest = bytes(data[end:size])
        if acks:
            self._send(b"".join(acks))

    def _taken(self, run: Run, data: bytearray, acks: list[bytes]) -> None:
        self._tally.received += run.frames
        topic = run.pos + run.body
        at = run.body + 2 + (data[topic] << 8 | data[topic + 1])
        qos = run.first >> 1 & 3
        if qos:
            acks.append(_answers(0x40 if qos == 1 else 0x50, run, data, at))
            at += 2
        if self._who.version == V5:
            at += 1 + data[run.pos + at]
        now = time.perf_counter()
        starts = range(run.pos + at, run.end, run.length)
        self._tally.delays += [now - _STAMP.unpack_from(data, start)[0] for start in starts]
        if self.on_received is not None:
            self.on_received(run.frames)

    def _answered(self, run: Run, data: bytearray) -> None:
        tally = self._tally
        now = time.perf_counter()
        sent = self._sent
        for high, low in zip(run.column(data, run.body), run.column(data, run.body + 1), strict=True):
            tally.latencies.append(now - sent.pop(high << 8 | low))
        if run.length - run.body > 2:
            tally.refused += sum(reason >= 0x80 for reason in run.column(data, run.body + 2))
        tally.acked += run.frames
        if self._answers_make_room:
            self.credit(run.frames)

    def _other(self, kind: int, run: Run, data: bytearray) -> None:
        if kind == 2:
            if data[run.pos + run.body + 1]:
                raise ConnectionError(f"{self._who.client_id} is refused: {data[run.pos + run.body + 1]:#04x}")
            self.let_in = time.perf_counter() - self.began
            if not self._who.filters:
                self.ready = True
                self._engine.opening -= 1
                return
            filters = [Filter(text, self._who.qos) for text in self._who.filters]
            self._send(encode(Subscribe(1, filters), self._who.version))
        elif kind == 9:
            start = run.pos + run.body + 2 + (self._who.version == V5)
            if any(code >= 0x80 for code in data[start : run.end]):
                raise ConnectionError(f"{self._who.client_id} may not subscribe")
            self.ready = True
            self._engine.opening -= 1
        elif kind == 14:
            raise ConnectionError(
                f"the broker disconnects {self._who.client_id}: {bytes(data[run.pos : run.end]).hex()}"
            )

    def writable(self) -> None:
        """Send on."""
        data, self._unsent = self._unsent, b""
        self._push(data)
        if not self._unsent:
            self._engine.want_writable(self._socket.fileno(), wanted=False)

    def _send(self, data: bytes) -> None:
        self._push(data if self._unframer is None else framed(data))

    def _push(self, data: bytes) -> None:
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent = data[sent:]
            self._engine.want_writable(self._socket.fileno(), wanted=True)


def _answers(first: int, run: Run, data: bytearray, at: int) -> bytes:
    """For each packet of the run one of four bytes with its packet id, which stands at offset `at`."""
    out = bytearray((first, 2, 0, 0)) * run.frames
    out[2::4] = run.column(data, at)
    out[3::4] = run.column(data, at + 1)
    return bytes(out)


class Engine:
    """Runs connections until something is true.

    Attributes:
        pause: seconds between two looks at the sockets, in which answers gather; 0 to look at once.
        opening: connections that are not ready.
    """

    def __init__(self, *, pause: float = 0.0) -> None:
        self.pause = pause
        self.opening = 0
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._buffer = bytearray(_READ)
        self._view = memoryview(self._buffer)

    def add(self, descriptor: int, connection: Connection) -> None:
        """Read for a connection."""
        self._connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN)
        self.opening += 1

    def remove(self, descriptor: int) -> None:
        """No longer."""
        if self._connections.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def want_writable(self, descriptor: int, *, wanted: bool) -> None:
        """Whether to tell when there is room to write."""
        self._epoll.modify(descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def run(self, done: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Until `done`.

        Raises:
            TimeoutError: it is not, after `seconds`; `what` was awaited.
            ConnectionError: a broker hung up.
        """
        deadline = time.perf_counter() + seconds
        poll, connections, buffer, view = self._epoll.poll, self._connections, self._buffer, self._view
        while not done():
            if self.pause:
                time.sleep(self.pause)
            for descriptor, event in poll(0.2):
                connection = connections.get(descriptor)
                if connection is None:
                    continue
                if event & select.EPOLLOUT:
                    connection.writable()
                if event & ~select.EPOLLOUT:
                    with contextlib.suppress(BlockingIOError):
                        connection.readable(buffer, view)
            if time.perf_counter() > deadline:
                raise TimeoutError(f"no {what} after {seconds:g} s")

    def open(self, target: Target, who: Iterable[Who], tally: Tally, *, seconds: float = 120.0) -> list[Connection]:
        """Connect them all, a few at a time, until each is let in and has what it subscribes to."""
        opened: list[Connection] = []
        pause, self.pause = self.pause, 0.0
        for one in who:
            try:
                opened.append(Connection(self, target, one, tally))
            except OSError as error:
                if error.errno == errno.EMFILE:
                    raise OSError(error.errno, "too many open files: raise `ulimit -n`") from None
                raise
            self.run(lambda: self.opening < AT_ONCE, seconds=seconds, what="CONNACK")
        self.run(lambda: not self.opening, seconds=seconds, what="CONNACK and SUBACK from all")
        self.pause = pause
        return opened

    def close(self) -> None:
        """Hang up all connections."""
        for connection in list(self._connections.values()):
            connection.close()
        self._epoll.close()


@contextlib.contextmanager
def engine(*, pause: float = 0.0) -> Iterator[Engine]:
    """An engine, whose connections are closed with the block."""
    made = Engine(pause=pause)
    try:
        yield made
    finally:
        made.close()
