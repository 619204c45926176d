"""What is fuzzed, and what must hold whatever comes: for Hypothesis (`tests/unit`) and for atheris (`make fuzz`).

`codec(data)`: any bytes, cut anywhere, give the same packets and the same refusal, and each packet that
a client may send survives being written and read.

`converse(script)`: any bytes from any of several clients, in any order. Nothing goes uncaught, a witness on the same broker
gets its message, and when the clients are gone and their sessions have expired, nothing of them is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

from structlog.testing import capture_logs

from broker.broker import Broker
from broker.connection import Connection
from broker.limits import Limits
from broker.policy import OpenPolicy
from mqtt.codec import V5, V311, Decoder, encode
from mqtt.packets import ConnAck, Connect, Filter, Packet, PubAck, Publish, SubAck, Subscribe, UnsubAck
from tests.corpus import MALFORMED, VALID

WIRES = [packet.wire for packet in VALID] + [packet.wire for packet in MALFORMED]
"""Packets to begin with: a fuzzer finds a whole CONNECT by itself only after a long time."""

OF_SERVERS = (ConnAck, SubAck, UnsubAck)

CLIENTS = 4
LIMITS = Limits(max_packet=4096, max_connect_packet=2048, queue=20, window=5, receive_maximum=5, write_buffer=65536)
EXPIRY = 60
FAR = 10 * 7 * 86_400.0
"""Longer than any session or delay may live."""

Script = Iterable[tuple[int, bytes]]


def codec(data: bytes) -> None:
    """Decode `data[2:]` as version `data[0] % 3` of 0 (any), 3.1.1 and 5, once whole and once in pieces."""
    if len(data) < 2:
        return
    version, piece, stream = (0, V311, V5)[data[0] % 3], data[1] % 16 + 1, data[2:]
    whole, cut = Decoder(version=version, max_packet=1 << 14), Decoder(version=version, max_packet=1 << 14)
    packets = [*whole.feed(stream), *whole.feed(b"")]  # what stands behind a CONNECT is read by the next feed
    parts = [stream[at : at + piece] for at in range(0, len(stream), piece)]
    pieces = [packet for part in (*parts, b"") for packet in cut.feed(part)]
    assert pieces == packets
    assert repr(cut.failure) == repr(whole.failure)
    assert whole.failure is not None or cut.pending == whole.pending
    for packet in packets:
        level = packet.version if isinstance(packet, Connect) else whole.version
        again = _again(packet, level)
        # What only servers send is read leniently (any reason code in a SUBACK of 3.1.1), and is written as it should be.
        assert again == packet or (isinstance(packet, OF_SERVERS) and _again(again, level) == again), (packet, again)


def _again(packet: Packet, level: int) -> Packet:
    """A packet written and read."""
    (again,) = Decoder(version=0 if isinstance(packet, Connect) else level).feed(encode(packet, level))
    return again


def script_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Bytes as a conversation: a head (who; a packet of `WIRES`, or how many bytes follow), then what it says."""
    at = 0
    while at + 2 <= len(data):
        who, what = data[at] % CLIENTS, data[at + 1]
        at += 2
        if data[at - 2] & 0x80:
            yield who, data[at : at + what]
            at += what
        else:
            yield who, WIRES[what % len(WIRES)]


class Wire:
    """A transport without a socket."""

    peer = "192.0.2.1:1"
    certificate: str | None = None
    tls = None
    unsent = 0

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        """Keep it."""
        assert not self.closed, "written to a closed transport"
        self.written += data

    def close(self) -> None:
        """Closed."""
        self.closed = True

    abort = close

    def pause(self) -> None:
        """Nothing is read anyway but what the script says."""

    def resume(self) -> None:
        """The same."""


class Town:
    """A broker with a witness and some clients."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.broker = Broker(OpenPolicy(), limits=LIMITS, clock=lambda: self.now)
        self.clients: list[tuple[Wire, Connection] | None] = [None] * CLIENTS
        self.witness: tuple[Wire, Connection] = self.dial()

    def dial(self) -> tuple[Wire, Connection]:
        """Open a connection."""
        wire = Wire()
        return wire, self.broker.connect(wire)

    async def rest(self) -> None:
        """Let every task go on until none can."""
        for _ in range(8):
            await asyncio.sleep(0)

    async def settle_in(self) -> None:
        """The witness connects and subscribes."""
        _, connection = self.witness
        connection.data_received(encode(Connect("witness", V311, True, 0, username="witness"), V311))
        await self.rest()
        connection.data_received(encode(Subscribe(1, [Filter("witness/of/fuzz", 1)]), V311))
        await self.rest()

    def say(self, who: int, data: bytes) -> None:
        """One client says something; one that was closed, or is new, connects first: two as version 5, two as 3.1.1."""
        client = self.clients[who]
        if client is None or client[0].closed:
            client = self.clients[who] = self.dial()
            level = (V5, V311)[who % 2]
            stays = who < 2
            properties = {"session_expiry_interval": EXPIRY} if stays and level == V5 else {}
            connect = Connect(f"client{who}", level, not stays, 30, username="c", properties=properties)  # type: ignore[arg-type]
            if who != CLIENTS - 1:  # the last one begins with what the script says
                client[1].data_received(encode(connect, level))
        client[1].data_received(data)

    async def check_witness(self) -> None:
        """The witness still gets what is published, and is answered."""
        wire, connection = self.witness
        assert not wire.closed, "the witness was disconnected"
        wire.written.clear()
        connection.data_received(encode(Publish("witness/of/fuzz", b"well", 1, packet_id=7), V311))
        await self.rest()
        packets = Decoder(version=V311).feed(bytes(wire.written))
        assert PubAck(7) in packets
        (event,) = [packet for packet in packets if isinstance(packet, Publish) and packet.payload == b"well"]
        connection.data_received(encode(PubAck(event.packet_id), V311))
        await self.rest()

    async def part(self) -> None:
        """Everybody but the witness goes, and their time runs out."""
        for client in self.clients:
            if client is not None and not client[0].closed:
                client[0].closed = True
                client[1].lost()
        await self.rest()
        self.now += FAR
        self.witness[1].last_heard = self.now
        self.broker.tick()
        await self.rest()

    def left_over(self) -> dict[str, object]:
        """What the broker holds."""
        core = self.broker.core
        return {
            "open": len(core.open),
            "connections": sorted(core.connections),
            "sessions": sorted(core.sessions),
            "subscriptions": core.index.size,
            "principals": sorted(core._by_principal),
            "timers": len(core._timers),
            "dirty": len(core._dirty),
            "tasks": len(self.broker._tasks),
        }


async def _converse(script: Script) -> None:
    trouble: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: trouble.append(context))
    with capture_logs() as logs:
        town = Town()
        await town.settle_in()
        before = town.left_over()
        for who, data in script:
            town.say(who, data)
            await town.rest()
            town.now += 0.01
        town.broker.tick()
        await town.check_witness()
        await town.part()
        await town.check_witness()
    trouble += [line for line in logs if line["event"] in ("connection.failed", "task.failed")]
    assert not trouble, trouble
    assert town.left_over() == before


def converse(script: Script) -> None:
    """See the head of this file."""
    asyncio.run(_converse(script))
