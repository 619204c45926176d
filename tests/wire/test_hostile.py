"""Peers that mean harm, or are broken: each costs itself its connection, and nobody else theirs (promise P8)."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from tests.corpus import connect, packet, text
from tests.wire.conftest import CONNACK4, PATIENCE, PING, Running, Start
from tests.wire.packets import QOS1, publish, received, subscribe

MIB = 1024 * 1024
UPGRADE = (
    b"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
)
CLAIM = b"\x10\xff\xff\xff\x7f"
"""The header of a packet of 256 MB less one byte."""


def rss(broker: Running) -> int:
    return int(psutil.Process(broker.pid).memory_info().rss)


def raw(port: int, *said: bytes, receive_buffer: int | None = None) -> socket.socket:
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.connect(("127.0.0.1", port))
    for each in said:
        sock.sendall(each)
    return sock


def ends(sock: socket.socket) -> None:
    try:
        while sock.recv(65_536):
            pass
    except ConnectionError:
        pass
    sock.close()


def subscribing(name: str, topic: str, qos: int = 0) -> bytes:
    return connect(name, level=4) + packet(0x82, b"\0\x01" + text(topic) + bytes((qos,)))


def test_what_a_stranger_sends_behind_a_connect_that_is_refused_is_not_kept(broker: Running) -> None:
    honest, before = broker.v4(), rss(broker)
    refused, flood = connect("c", block=b"\x15\0\x05SCRAM"), packet(0x30, text("a") + b"x" * 200_000)
    for _ in range(50):
        sock = raw(broker.port, refused)
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                sock.sendall(flood)
        ends(sock)
    honest.quiet()
    assert rss(broker) - before < 16 * MIB


def test_the_claim_of_a_huge_packet_is_refused_from_its_header(broker: Running) -> None:
    honest, before = broker.v4(), rss(broker)
    for _ in range(50):
        ends(raw(broker.port, CLAIM))
        ends(raw(broker.port, connect(broker.name(), level=4), b"\x30\xff\xff\xff\x7f"))
        ends(raw(broker.ws_port, UPGRADE + b"\r\n", b"\x82\xff" + (1 << 28).to_bytes(8, "big") + b"\0\0\0\0"))
    honest.quiet()
    assert rss(broker) - before < 8 * MIB


def test_a_stranger_is_given_less_memory_than_a_client(start: Start) -> None:
    with start(max_connect_packet=2048) as broker:
        ends(raw(broker.port, b"\x10\x81\x10"))  # 2,049 bytes
        ends(raw(broker.ws_port, UPGRADE + b"\r\n", b"\x82\xfe" + (2054).to_bytes(2, "big") + b"\0\0\0\0"))
        client = broker.v4()
        client.send(publish(client, "t", bytes(100_000), flags=QOS1))
        client.expect(b"\x40\x02\0\x01")


def test_who_says_nothing_or_half_a_connect_is_cut(start: Start) -> None:
    with start(connect_timeout=1) as broker:
        hello = connect("half", level=4)
        halves = [raw(broker.port), raw(broker.port, hello[:1]), raw(broker.port, hello[:-1])]
        halves += [raw(broker.ws_port), raw(broker.ws_port, UPGRADE), raw(broker.ws_port, UPGRADE + b"\r\n")]
        honest = broker.v4()
        for sock in halves:
            ends(sock)
        honest.quiet()


@contextmanager
def flooding(broker: Running, wire: bytes) -> Iterator[None]:
    """A client that sends the same all the time, and reads what it is answered."""
    sock = raw(broker.port, connect(broker.name(), level=4))
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            sock.sendall(wire)

    def read() -> None:
        while sock.recv(65_536):
            pass

    threads = [threading.Thread(target=_until_closed, args=(work,)) for work in (send, read)]
    for thread in threads:
        thread.start()
    try:
        yield
        assert all(thread.is_alive() for thread in threads), "the flood was over before the test"
    finally:
        over.set()
        sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()
        sock.close()


def _until_closed(work: object) -> None:
    try:
        work()  # type: ignore[operator]
    except OSError:
        return


@pytest.mark.parametrize("qos", [0, 1])
def test_a_flood_of_publishes_starves_nobody(broker: Running, qos: int) -> None:
    client = broker.v4()
    topic = broker.name()
    subscribe(client, topic)
    before = rss(broker)
    one = packet(0x30 | qos << 1, text("flood") + (b"\0\x01" if qos else b"") + bytes(100))
    with flooding(broker, one * 500):
        for number in range(50):
            client.send(publish(client, topic, b"%d" % number))
            assert received(client).payload == b"%d" % number
        broker.v4().quiet()
    assert rss(broker) - before < 32 * MIB


def test_a_flood_of_subscriptions_ends_at_the_limit(start: Start) -> None:
    with start(subscriptions=100) as broker:
        client = broker.v4()
        for number in range(150):
            client.send(packet(0x82, b"\0\x01" + text(f"f/{number}") + b"\0"))
            assert client.packet()[-1] == (0 if number < 100 else 0x80)
        client.quiet()


def test_who_does_not_read_is_dropped_from_and_then_disconnected(start: Start) -> None:
    with start(write_buffer=65_536, write_timeout=1) as broker:
        unread = raw(broker.port, subscribing("unread", "noise"), receive_buffer=4096)
        other, sender = broker.v4(), broker.v4()
        subscribe(other, "noise", 0)
        before = rss(broker)
        for _ in range(400):
            sender.send(publish(sender, "noise", bytes(60_000)))
            assert len(received(other).payload) == 60_000
        assert rss(broker) - before < 16 * MIB
        deadline = time.monotonic() + PATIENCE
        while not psutil_gone(broker, unread) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert psutil_gone(broker, unread)
        sender.quiet()
        unread.close()


@pytest.mark.parametrize("kind", ["tcp", "ws"])
def test_all_who_do_not_read_together_cost_no_more_than_the_limit(start: Start, kind: str) -> None:
    """Twenty are owed 300 messages of 60 KB at QoS 1 and never read: 360 MB, of which the system buffers a quarter perhaps."""
    with start(write_buffer_total=16 * MIB) as broker:
        honest, sender = broker.v4(), broker.v4()
        subscribe(honest, "noise", 1)
        unread = [_owed(broker, number, kind) for number in range(20)]
        before = rss(broker)
        for number in range(1, 301):
            sender.send(publish(sender, "noise", bytes(60_000), flags=QOS1, packet_id=number))
            honest.send(b"\x40\x02" + received(honest).packet_id.to_bytes(2, "big"))
            assert sender.packet() == b"\x40\x02" + number.to_bytes(2, "big")
        assert rss(broker) - before < 80 * MIB
        honest.quiet()
        assert any(psutil_gone(broker, sock) for sock in unread)
        for sock in unread:
            sock.close()


def _owed(broker: Running, number: int, kind: str) -> socket.socket:
    said = subscribing(f"owed{number}", "noise", 1)
    if kind == "tcp":
        return raw(broker.port, said, receive_buffer=4096)
    head = b"\x82" + (bytes((0x80 | len(said),)) if len(said) < 126 else b"\xfe" + len(said).to_bytes(2, "big"))
    return raw(broker.ws_port, UPGRADE + b"\r\n", head + b"\0\0\0\0" + said, receive_buffer=4096)


def psutil_gone(broker: Running, sock: socket.socket) -> bool:
    """Whether the broker no longer holds its end open."""
    port = sock.getsockname()[1]
    found = [c for c in psutil.Process(broker.pid).net_connections("tcp") if c.raddr and c.raddr.port == port]
    return not any(c.status == psutil.CONN_ESTABLISHED for c in found)


def test_who_never_acknowledges_fills_its_own_queue_only(start: Start) -> None:
    with start(window=10, queue=20) as broker:
        silent, other, sender = broker.v4(), broker.v4(), broker.v4()
        for client in (silent, other):
            subscribe(client, "t")
        for number in range(1, 101):
            sender.send(publish(sender, "t", b"x", flags=QOS1, packet_id=number))
            sender.packet()
            other.send(b"\x40\x02" + received(other).packet_id.to_bytes(2, "big"))
        got = [received(silent).packet_id for _ in range(10)]
        silent.quiet()  # no more than its window
        for number in got:
            silent.send(b"\x40\x02" + number.to_bytes(2, "big"))
        assert len({received(silent).packet_id for _ in range(10)}) == 10
        silent.quiet()


def test_an_address_that_comes_too_fast_is_turned_away_and_may_come_back(start: Start) -> None:
    with start(address_rate=5, address_burst=40) as broker:
        turned = 0
        for _ in range(60):
            try:
                with raw(broker.port, connect("storm", level=4)) as sock:
                    turned += sock.recv(4) != CONNACK4
            except ConnectionError:
                turned += 1
        assert turned > 0
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(0.3)
            try:
                with raw(broker.port, connect("back", level=4)) as sock:
                    if sock.recv(4) == CONNACK4:
                        return
            except ConnectionError:
                continue
        pytest.fail("nobody from that address was let in any more")


def test_compression_is_offered_and_not_taken(broker: Running) -> None:
    with raw(broker.ws_port, UPGRADE + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n") as sock:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"extensions" not in head.lower()
        sock.sendall(b"\xc2\x82\0\0\0\0" + PING)  # RSV1: compressed all the same
        assert sock.recv(2)[:1] == b"\x88"


# ---- all of them at once


def test_a_thousand_hostile_sockets(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    with start() as broker:
        honest, listener = broker.v4(), broker.v4()
        subscribe(listener, "noise", 0)
        before = rss(broker)
        sockets = [make(broker, number) for make in _KINDS for number in range(1000 // len(_KINDS))]
        took = []
        with flooding(broker, packet(0x30, text("flood") + bytes(100)) * 200):
            for number in range(150):
                began = time.perf_counter()
                client = broker.v4()
                client.send(publish(client, "noise", b"%d" % number + bytes(4_000), flags=QOS1))
                assert client.packet() == b"\x40\x02\0\x01"
                took.append(time.perf_counter() - began)
                assert received(listener).payload.startswith(b"%d" % number)
                client.close()
        honest.quiet()
        grown = rss(broker) - before
        p99 = statistics.quantiles(took, n=100)[98]
        with capsys.disabled():
            print(  # noqa: T201 - a number to look at, not to assert
                f" {len(sockets)} hostile: connect and publish p99 {p99 * 1000:.1f} ms, +{grown / MIB:.1f} MiB ", end=""
            )
        assert grown < 64 * MIB
        for sock in sockets:
            sock.close()


def _silent(broker: Running, _: int) -> socket.socket:
    return raw(broker.port)


def _half(broker: Running, number: int) -> socket.socket:
    whole = packet(0x10, bytes(30_000))
    return raw(broker.port, whole[: 10_000 + number])


def _claim(broker: Running, _: int) -> socket.socket:
    return raw(broker.port, CLAIM)


def _web(broker: Running, number: int) -> socket.socket:
    return raw(broker.ws_port, (UPGRADE, UPGRADE + b"\r\n", UPGRADE + b"\r\n\x81\x80\0\0\0\0")[number % 3])


def _noise(broker: Running, _: int) -> socket.socket:
    return raw(broker.port, os.urandom(200))


def _unread(broker: Running, number: int) -> socket.socket:
    return raw(broker.port, subscribing(f"unread{number}", "noise"), receive_buffer=4096)


def _never_acknowledges(broker: Running, number: int) -> socket.socket:
    return raw(broker.port, subscribing(f"never{number}", "noise", 1), receive_buffer=4096)


def _many_filters(broker: Running, number: int) -> socket.socket:
    filters = b"".join(text(f"{number}/{each}/+") + b"\0" for each in range(50))
    return raw(broker.port, connect(f"many{number}", level=4), packet(0x82, b"\0\x01" + filters))


_KINDS = [_silent, _half, _claim, _web, _noise, _unread, _never_acknowledges, _many_filters]
