"""The link against a broker that the test plays itself, packet by packet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters import mqtt_connection
from adapters.backoff import Backoff
from adapters.mqtt_link import MqttLink, instance_name
from bridge.settings import Settings
from chat.errors import Unavailable
from chat.ids import owns_client_id
from chat.ports import Delivery, Published
from chat.tracing import TraceContext
from mqtt.codec import V5, Decoder, encode
from mqtt.packets import ConnAck, Connect, Disconnect, Packet, PingReq, PingResp, PubAck, Publish, SubAck, Subscribe


class Peer:
    """The broker's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder(version=0)
        self._packets: list[Packet] = []

    async def next(self) -> Packet:
        """The next packet but pings; EOFError when the connection is closed."""
        while True:
            while not self._packets:
                data = await self._reader.read(65_536)
                if not data:
                    raise EOFError
                self._packets = self._decoder.feed(data)
                assert self._decoder.failure is None
            packet = self._packets.pop(0)
            if not isinstance(packet, PingReq):
                return packet
            self.send(PingResp())

    async def closed(self) -> None:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                await self.next()

    def send(self, *packets: Packet) -> None:
        self.write(b"".join(encode(packet, V5) for packet in packets))

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def accept(self, properties: Any = None, reasons: list[int] | None = None) -> Connect:
        connect = await self.next()
        assert isinstance(connect, Connect)
        self.send(ConnAck(session_present=False, reason=0, properties=properties or {}))
        subscribe = await self.next()
        assert isinstance(subscribe, Subscribe)
        granted = [1] * len(subscribe.filters) if reasons is None else reasons
        self.send(SubAck(subscribe.packet_id, granted))
        return connect

    def close(self) -> None:
        self._writer.transport.abort()


class Server:
    """Listens, and gives the test each connection as it comes."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue(100)
        self._open: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open.append(writer)
            self._peers.put_nowait(Peer(reader, writer))

        self._server = await asyncio.start_server(connected, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def peer(self) -> Peer:
        return await self._peers.get()

    async def close(self) -> None:
        assert self._server is not None
        for writer in self._open:
            writer.transport.abort()
        self._server.close()
        await self._server.wait_closed()


class Running:
    """A link that runs, and what it received: `reads` has one list per read."""

    def __init__(self, port: int, **options: Any) -> None:
        values = {"keep_alive": 20, "backoff": Backoff(first=0.001, most=0.01)} | options
        self.link = MqttLink("127.0.0.1", port, "svc-test", "secret", "svc-test", **values)
        self.reads: list[list[Delivery]] = []
        self.arrived = asyncio.Event()
        self.task = asyncio.create_task(self.link.run(["$share/bridge/a/+", "b"], self._receive))

    def _receive(self, deliveries: list[Delivery]) -> None:
        self.reads.append(deliveries)
        self.arrived.set()

    async def deliveries(self, count: int) -> list[Delivery]:
        while len(found := [one for read in self.reads for one in read]) < count:
            self.arrived.clear()
            await self.arrived.wait()
        return found

    async def up(self) -> None:
        while not self.link.connected:
            await asyncio.sleep(0.001)

    async def down(self) -> None:
        while self.link.connected:
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    yield made
    await made.close()


@pytest.fixture
async def start(server: Server) -> AsyncIterator[Callable[..., Any]]:
    running: list[Running] = []
    port = await server.start()

    async def make(properties: Any = None, **options: Any) -> tuple[Running, Peer]:
        made = Running(port, **options)
        running.append(made)
        peer = await server.peer()
        await peer.accept(properties)
        await made.up()
        return made, peer

    yield make
    for one in running:
        await one.stop()


async def test_the_handshake(server: Server) -> None:
    running = Running(await server.start(), receive_maximum=77)
    peer = await server.peer()
    connect = await peer.next()
    assert isinstance(connect, Connect)
    assert (connect.client_id, connect.username, connect.password) == ("svc-test", "svc-test", b"secret")
    assert connect.clean_start
    assert connect.properties["session_expiry_interval"] == 0
    assert connect.properties["receive_maximum"] == 77
    peer.send(ConnAck(session_present=False, reason=0))
    subscribe = await peer.next()
    assert isinstance(subscribe, Subscribe)
    assert [(one.topic_filter, one.qos) for one in subscribe.filters] == [("$share/bridge/a/+", 1), ("b", 1)]
    assert not running.link.connected
    peer.send(SubAck(subscribe.packet_id, [1, 1]))
    await running.up()
    await running.stop()
    assert isinstance(await peer.next(), Disconnect)
    with pytest.raises(EOFError):
        await peer.next()


async def test_what_one_read_brought_comes_as_one_list_and_is_settled_by_hand(start: Any) -> None:
    running, peer = await start()
    properties: Any = {"user_property": [("ingest", "x"), ("ingest", "b:1")], "content_type": "text/plain"}
    peer.send(
        Publish("a/1", "안녕".encode(), qos=1, packet_id=7, properties=properties),
        Publish("a/2", b"", qos=0),
        Publish("a/3", b"3", qos=1, packet_id=9),
    )
    one, two, three = await running.deliveries(3)
    assert len(running.reads) == 1
    assert (one.topic, one.payload, one.qos, one.content_type) == ("a/1", "안녕".encode(), 1, "text/plain")
    assert one.properties == {"ingest": "b:1"}
    assert (two.qos, two.content_type, two.properties) == (0, None, {})
    two.settle(0, None, None)
    three.settle(0x97, "나중에", "rate_limited")
    one.settle(0, None, None)
    refusal: Any = {"reason_string": "나중에", "user_property": [("code", "rate_limited")]}
    assert [await peer.next(), await peer.next()] == [PubAck(9, 0x97, refusal), PubAck(7)]


async def test_packets_split_over_reads(start: Any) -> None:
    running, peer = await start()
    data = b"".join(encode(Publish("a/1", b"x" * 300, qos=1, packet_id=k), V5) for k in (1, 2, 3))
    for place in range(0, len(data), 7):
        peer.write(data[place : place + 7])
        await asyncio.sleep(0)
    deliveries = await running.deliveries(3)
    assert [len(one.payload) for one in deliveries] == [300, 300, 300]


async def test_a_delivery_is_settled_once(start: Any) -> None:
    """The broker may use a packet id again as soon as it has the PUBACK: a second one would acknowledge another message."""
    running, peer = await start()
    peer.send(Publish("a/1", b"1", qos=1, packet_id=7))
    (first,) = await running.deliveries(1)
    first.settle(0, None, None)
    assert await peer.next() == PubAck(7)
    peer.send(Publish("a/1", b"2", qos=1, packet_id=7))
    second = (await running.deliveries(2))[1]
    first.settle(0, None, None)
    second.settle(0x83, None, None)
    assert await peer.next() == PubAck(7, 0x83)


async def test_publishing(start: Any) -> None:
    running, peer = await start()
    answer = running.link.publish("t/1", "가".encode(), content_type="text/plain", properties={"mark": "3"})
    packet = await peer.next()
    expected: Any = {"content_type": "text/plain", "user_property": [("mark", "3")]}
    assert packet == Publish("t/1", "가".encode(), 1, packet_id=packet.packet_id, properties=expected)
    peer.send(PubAck(packet.packet_id))
    assert await answer == Published(0)
    assert await running.link.publish("t/2", b"", qos=0, retain=True) == Published(0)
    assert await peer.next() == Publish("t/2", b"", retain=True)
    refused = running.link.publish("t/3", b"")
    packet = await peer.next()
    properties: Any = {"reason_string": "no", "user_property": [("code", "id_taken")]}
    peer.send(PubAck(packet.packet_id, 0x83, properties))
    assert await refused == Published(0x83, "no", "id_taken")


async def test_publishes_that_are_made_together_have_one_answer(start: Any) -> None:
    running, peer = await start()
    answers = running.link.publish_all(
        [("a", "안녕".encode(), 7), ("b", b"2", None), ("a", b"3", 70_000), ("b", b"4", None)]
    )
    got = [await peer.next() for _ in range(4)]
    assert [(one.topic, one.payload, one.properties) for one in got] == [
        ("a", "안녕".encode(), {"user_property": [("mark", "7")]}),
        ("b", b"2", {}),
        ("a", b"3", {"user_property": [("mark", "70000")]}),
        ("b", b"4", {}),
    ]
    refusal: Any = {"reason_string": "no", "user_property": [("code", "full")]}
    peer.send(PubAck(got[2].packet_id), PubAck(got[1].packet_id, 0x97, refusal), PubAck(got[0].packet_id))
    await asyncio.sleep(0.01)
    assert not answers.done()
    peer.close()
    assert await answers == [Published(0), Published(0x97, "no", "full"), Published(0), None]
    assert await running.link.publish_all([]) == []


async def test_those_that_belong_to_a_span_say_so_and_the_others_are_as_they_were(start: Any) -> None:
    running, peer = await start()
    span = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True, state="a=1")
    said = [("traceparent", span.traceparent)]
    running.link.publish_all([("a", b"1", 7), ("b", b"2", 8), ("b", b"3", None)], traces={1: span, 2: span})
    got = [(await peer.next()).properties.get("user_property") for _ in range(3)]
    assert got == [[("mark", "7")], [("mark", "8"), *said], said]


async def test_without_a_connection_nothing_of_them_is_sent() -> None:
    link = MqttLink("127.0.0.1", 1, "svc-test", "secret", "svc-test")
    assert await link.publish_all([("a", b"1", 1), ("a", b"2", None)]) == [None, None]


async def test_the_brokers_window_is_kept_and_the_order_too(start: Any) -> None:
    running, peer = await start({"receive_maximum": 2})
    answers = [running.link.publish("t", str(k).encode()) for k in range(5)]
    under_way = [await peer.next(), await peer.next()]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(peer.next(), 0.05)
    taken = []
    for _ in range(5):
        packet = under_way.pop(0)
        taken.append(packet.payload)
        peer.send(PubAck(packet.packet_id))
        if len(taken) <= 3:
            under_way.append(await peer.next())
    assert taken == [b"0", b"1", b"2", b"3", b"4"]
    assert [await answer for answer in answers] == [Published(0)] * 5


async def test_what_waits_for_the_window_is_bounded(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_connection, "MAX_WAITING", 2)
    running, _peer = await start({"receive_maximum": 1})
    answers = [running.link.publish("t", b"") for _ in range(4)]
    with pytest.raises(Unavailable):
        await answers[3]
    assert not answers[2].done()


async def test_a_packet_that_the_broker_would_not_take_is_not_sent(start: Any) -> None:
    running, _peer = await start({"maximum_packet_size": 100})
    assert (await running.link.publish("t", b"x" * 200)).reason_code == 0x95
    assert running.link.connected


async def test_many_ids_wrap_around(start: Any) -> None:
    running, peer = await start()
    running.link._connection._last_id = 65_534
    answers = [running.link.publish("t", b"") for _ in range(3)]
    packets = [await peer.next() for _ in range(3)]
    assert [packet.packet_id for packet in packets] == [65_535, 1, 2]
    peer.send(*(PubAck(packet.packet_id) for packet in packets))
    await asyncio.gather(*answers)


async def test_a_lost_connection_fails_what_was_open_and_comes_back(start: Any, server: Server) -> None:
    running, peer = await start()
    ups: list[int] = []
    running.link.on_up = lambda: ups.append(1)
    peer.send(Publish("a/1", b"", qos=1, packet_id=7))
    (old,) = await running.deliveries(1)
    open_ = running.link.publish("t", b"")
    await peer.next()
    peer.close()
    with pytest.raises(Unavailable):
        await open_
    await running.down()
    with pytest.raises(Unavailable):
        await running.link.publish("t", b"")
    peer = await server.peer()
    await peer.accept()
    await running.up()
    old.settle(0, None, None)  # of the old connection: nothing is sent on the new one
    answer = running.link.publish("t", b"")
    packet = await peer.next()
    assert isinstance(packet, Publish)
    peer.send(PubAck(packet.packet_id))
    assert await answer == Published(0)
    assert ups == [1]


@pytest.mark.parametrize(
    "packet", [Disconnect(0x8B), SubAck(9, [0]), ConnAck(session_present=False, reason=0), PingReq()]
)
async def test_what_ends_a_connection_is_followed_by_a_new_one(start: Any, server: Server, packet: Packet) -> None:
    running, peer = await start()
    peer.send(packet)
    again = await server.peer()
    await again.accept()
    await running.up()


async def test_bytes_that_are_no_mqtt_end_the_connection(start: Any, server: Server) -> None:
    running, peer = await start()
    peer.write(b"\xff\xff\xff\xff\xff")
    await peer.closed()
    await (await server.peer()).accept()
    await running.up()


async def test_a_broker_that_passes_our_receive_maximum_is_cut(start: Any) -> None:
    running, peer = await start(receive_maximum=2)
    peer.send(*(Publish("a/1", b"", qos=1, packet_id=k) for k in (1, 2, 3)))
    await peer.closed()
    assert running.reads == []


async def test_a_silent_broker_is_given_up(start: Any, server: Server) -> None:
    running, _silent = await start({"server_keep_alive": 1})
    running.link._connection._keep_alive = 0.05
    running.link._connection._tick()
    await (await server.peer()).accept()
    await running.up()


@pytest.mark.parametrize("refusal", ["connack", "suback", "silence", "close"])
async def test_a_refused_handshake_is_tried_again(
    server: Server, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.mqtt_link.CONNECT_SECONDS", 0.1)
    running = Running(await server.start())
    peer = await server.peer()
    if refusal == "connack":
        await peer.next()
        peer.send(ConnAck(session_present=False, reason=0x87))
    elif refusal == "suback":
        await peer.accept(reasons=[1, 0x87])
    elif refusal == "close":
        peer.close()
    again = await server.peer()
    assert not running.link.connected
    await again.accept()
    await running.up()
    await running.stop()


async def test_a_client_id_that_two_use_is_told_as_an_error_with_what_to_do(
    start: Callable[..., Any], server: Server
) -> None:
    with capture_logs() as logs:
        link, peer = await start()
        peer.send(Disconnect(0x8E))
        await link.down()
        await (await server.peer()).accept()
        await link.up()
    (told,) = [line for line in logs if line["event"] == "link.taken_over"]
    assert (told["log_level"], told["client_id"]) == ("error", "svc-test")
    assert "instance" in told["todo"]


def test_two_processes_of_one_host_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "하늘.local" + "x" * 80)
    names = {instance_name() for _ in range(20)}
    assert len(names) == 20
    for name in names:
        Settings(link_secret_file=Path("unused"), bridge_instance=name)
        assert owns_client_id("svc-bridge", f"svc-bridge:{name}")
