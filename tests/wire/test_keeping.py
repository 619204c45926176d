"""What a broker keeps: retained messages, sessions, wills; and the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from mqtt.packets import Disconnect, SubAck
from tests.corpus import connect, packet, text
from tests.wire.conftest import CONNACK4_PRESENT, Running, Start, Wire
from tests.wire.packets import DUP, QOS1, RETAIN, puback, publish, received, subscribe

# ---- retained


def test_retained_is_kept_replaced_and_deleted(broker: Running) -> None:
    sender, topic = broker.v4(), broker.name()
    live = broker.v4()
    subscribe(live, topic)
    sender.send(publish(sender, topic, b"1", flags=QOS1 | RETAIN), publish(sender, topic, b"2", flags=RETAIN))
    sender.expect(puback(1))
    live.expect(publish(live, topic, b"1", flags=QOS1), publish(live, topic, b"2"))  # not retained for who was there
    late = broker.v4()
    subscribe(late, topic)
    late.expect(publish(late, topic, b"2", flags=RETAIN))
    sender.send(publish(sender, topic, b"", flags=RETAIN))
    late.expect(publish(late, topic, b""))
    sender.quiet()
    later = broker.v4()
    subscribe(later, topic)
    later.quiet()


def test_retained_comes_with_the_qos_of_both_and_through_wildcards(broker: Running) -> None:
    sender, base = broker.v4(), broker.name()
    sender.send(publish(sender, f"{base}/a", b"1", flags=QOS1 | RETAIN), publish(sender, base, b"0", flags=RETAIN))
    sender.expect(puback(1))
    sender.quiet()
    wire = broker.v4()
    wire.send(packet(0x82, b"\0\x09" + text(f"{base}/#") + b"\1"))
    wire.expect(b"\x90\x03\0\x09\x01")
    got = {wire.packet(), wire.packet()}
    assert got == {publish(wire, f"{base}/a", b"1", flags=QOS1 | RETAIN), publish(wire, base, b"0", flags=RETAIN)}


@pytest.mark.parametrize(("handling", "first", "second"), [(0, True, True), (1, True, False), (2, False, False)])
def test_retain_handling(broker: Running, handling: int, first: bool, second: bool) -> None:
    wire, topic = broker.v5(), broker.name()
    wire.send(publish(wire, topic, b"r", flags=RETAIN))
    for wanted in (first, second):
        subscribe(wire, topic, handling << 4)
        if wanted:
            wire.expect(publish(wire, topic, b"r", flags=RETAIN))
        wire.quiet()


def test_retain_as_published(broker: Running) -> None:
    plain, kept, topic = broker.v5(), broker.v5(), broker.name()
    subscribe(plain, topic, 0)
    subscribe(kept, topic, 0x08)
    plain.send(publish(plain, topic, flags=RETAIN))
    plain.expect(publish(plain, topic))
    kept.expect(publish(kept, topic, flags=RETAIN))


# ---- sessions that stay


def test_what_came_while_away_comes_in_order_and_what_was_under_way_comes_first_with_dup(broker: Running) -> None:
    name, topic, sender = broker.name(), broker.name(), broker.v4()
    wire = broker.v4(name, clean=False)
    subscribe(wire, topic)
    sender.send(*(publish(sender, topic, str(n).encode(), flags=QOS1, packet_id=n) for n in (1, 2, 3)))
    wire.expect(*(publish(wire, topic, str(n).encode(), flags=QOS1, packet_id=n) for n in (1, 2, 3)))
    wire.send(puback(2))
    wire.quiet()
    wire.vanish()
    sender.send(publish(sender, topic, b"0", packet_id=4), publish(sender, topic, b"4", flags=QOS1, packet_id=4))
    sender.expect(*map(puback, (1, 2, 3, 4)))
    for _ in range(2):  # they come again each time, until they are acknowledged
        wire = broker.wire()
        wire.send(connect(name, level=4, flags=0))
        wire.expect(CONNACK4_PRESENT)
        wire.expect(*(publish(wire, topic, str(n).encode(), flags=QOS1 | DUP, packet_id=n) for n in (1, 3)))
        last = wire.packet()
        assert last[-1:] == b"4"
        wire.vanish()
    wire = broker.wire()
    wire.send(connect(name, level=4, flags=0))
    wire.expect(CONNACK4_PRESENT)
    for _ in range(3):
        number = wire.packet()[4 + len(topic) : 6 + len(topic)]
        wire.send(b"\x40\x02" + number)
    wire.quiet()
    wire.vanish()
    wire = broker.wire()
    wire.send(connect(name, level=4, flags=0))
    wire.expect(CONNACK4_PRESENT)
    wire.quiet()


def test_no_more_than_the_receive_maximum_is_under_way(broker: Running) -> None:
    wire, sender, topic = broker.v5(block=b"\x21\0\x02"), broker.v4(), broker.name()
    subscribe(wire, topic)
    sender.send(*(publish(sender, topic, str(n).encode(), flags=QOS1, packet_id=n) for n in range(1, 6)))
    sender.expect(*map(puback, range(1, 6)))
    wire.expect(*(publish(wire, topic, str(n).encode(), flags=QOS1, packet_id=n) for n in (1, 2)))
    wire.quiet()
    wire.send(puback(2))
    wire.expect(publish(wire, topic, b"3", flags=QOS1, packet_id=3))
    wire.quiet()
    wire.send(puback(1), puback(3))
    wire.expect(*(publish(wire, topic, str(n).encode(), flags=QOS1, packet_id=n) for n in (4, 5)))


def test_a_client_is_not_sent_more_than_it_takes(broker: Running) -> None:
    wire, sender, topic = broker.v5(block=b"\x27\0\0\0\x64"), broker.v4(), broker.name()
    subscribe(wire, topic)
    sender.send(publish(sender, topic, b"x" * 100, flags=QOS1), publish(sender, topic, b"y", flags=QOS1, packet_id=2))
    sender.expect(puback(1), puback(2))
    assert received(wire).payload == b"y"


def test_a_queue_that_is_full_drops_what_comes_and_keeps_what_waits(start: Start) -> None:
    with start(queue=3) as broker:
        name, sender = broker.name(), broker.v4()
        wire = broker.v4(name, clean=False)
        subscribe(wire, "t")
        wire.send(b"\xe0\0")
        wire.ended()
        sender.send(*(publish(sender, "t", str(n).encode(), flags=QOS1, packet_id=n) for n in range(1, 10)))
        sender.expect(*map(puback, range(1, 10)))
        wire = broker.wire()
        wire.send(connect(name, level=4, flags=0))
        wire.expect(CONNACK4_PRESENT)
        wire.expect(*(publish(wire, "t", str(n).encode(), flags=QOS1, packet_id=n) for n in (1, 2, 3)))
        wire.quiet()


@pytest.mark.parametrize("retain", [0, RETAIN])
def test_a_full_retained_store_and_size_limits(start: Start, retain: int) -> None:
    with start(retained=1, max_packet=2048) as broker:
        wire = broker.v5()
        wire.send(publish(wire, "a", b"1", flags=RETAIN), publish(wire, "b", b"1", flags=RETAIN))
        wire.send(packet(0x82, b"\0\x09\0" + text("#") + b"\0"))
        wire.expect(packet(0x90, b"\0\x09\0\0"), publish(wire, "a", b"1", flags=RETAIN))
        wire.quiet()
        largest = b"x" * (2048 - 4)
        wire.send(publish(wire, "c", largest, flags=retain))
        assert received(wire).payload == largest
        wire.send(publish(wire, "c", largest + b"x"))
        assert wire.packet()[2] == 0x95
        wire.ended()


# ---- wills


def with_will(broker: Running, topic: str, *, qos_retain: int = 0, version: int = 5, block: bytes = b"") -> Wire:
    properties = bytes((len(block),)) + block if version == 5 else b""
    make = broker.v5 if version == 5 else broker.v4
    return make(flags=4 | qos_retain, rest=properties + text(topic) + text("gone"))


@pytest.mark.parametrize("version", [4, 5])
def test_a_will_is_published_when_a_client_vanishes(broker: Running, version: int) -> None:
    watcher, topic = broker.v4(), broker.name()
    subscribe(watcher, topic)
    with_will(broker, topic, qos_retain=0x28, version=version).vanish()
    watcher.expect(publish(watcher, topic, b"gone", flags=QOS1))
    late = broker.v4()
    subscribe(late, topic)
    late.expect(publish(late, topic, b"gone", flags=QOS1 | RETAIN))


@pytest.mark.parametrize("version", [4, 5])
def test_no_will_after_a_normal_disconnect(broker: Running, version: int) -> None:
    watcher, topic = broker.v4(), broker.name()
    subscribe(watcher, topic)
    wire = with_will(broker, topic, version=version)
    wire.send(b"\xe0\0")
    wire.ended()
    watcher.quiet()


@pytest.mark.parametrize("reason", [0x04, 0x80])
def test_a_disconnect_with_another_reason_leaves_the_will(broker: Running, reason: int) -> None:
    watcher, topic = broker.v4(), broker.name()
    subscribe(watcher, topic)
    wire = with_will(broker, topic)
    wire.send(bytes((0xE0, 1, reason)))
    wire.ended()
    watcher.expect(publish(watcher, topic, b"gone"))


def test_a_protocol_error_leaves_the_will_and_so_does_a_take_over(broker: Running) -> None:
    watcher, topic = broker.v4(), broker.name()
    subscribe(watcher, topic)
    wire = with_will(broker, topic, version=4)
    wire.send(b"\0\0")
    watcher.expect(publish(watcher, topic, b"gone"))
    name = broker.name()
    broker.v4(name, flags=4, rest=text(topic) + text("taken"))
    broker.v4(name)
    watcher.expect(publish(watcher, topic, b"taken"))


def test_a_wills_properties_travel(broker: Running) -> None:
    watcher, topic = broker.v5(), broker.name()
    subscribe(watcher, topic)
    block = b"\x01\x01\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x06ingest\0\x01i\x26\0\x04mark\0\x011\x26\0\x01k\0\x01v"
    with_will(broker, topic, block=block).vanish()
    assert received(watcher).properties == {
        "payload_format_indicator": 1,
        "content_type": "t",
        "response_topic": "r",
        "correlation_data": b"c",
        "user_property": [("ingest", "i"), ("mark", "1"), ("k", "v")],
    }


def test_a_delayed_will_is_taken_back_by_who_comes_back_in_time(broker: Running) -> None:
    watcher, topic, name, other = broker.v4(), broker.name(), broker.name(), broker.name()
    subscribe(watcher, f"{topic}/#")
    for client, last in ((name, "back"), (other, "away")):
        rest = b"\x05\x18\0\0\0\x02" + text(f"{topic}/{last}") + text("gone")
        broker.v5(client, flags=4, block=b"\x11\0\0\0\x3c", rest=rest).vanish()
    broker.v5(name, clean=False, block=b"\x11\0\0\0\x3c")
    watcher.expect(publish(watcher, f"{topic}/away", b"gone"))
    watcher.quiet()


# ---- the end


def test_on_sigterm_5_is_told_and_wills_are_not_published(start: Start) -> None:
    with start() as broker:
        five, four, watcher = broker.v5(flags=4, rest=b"\0" + text("w") + text("x")), broker.v4(), broker.v5()
        subscribe(watcher, "w")
        os.kill(broker.pid, signal.SIGTERM)
        for wire in (five, watcher):
            answer = wire.read()
            assert isinstance(answer, Disconnect)
            assert answer.reason == 0x8B
            wire.ended()
        four.ended()


def test_too_many_filters(start: Start) -> None:
    with start(subscriptions=2) as broker:
        wire = broker.v5()
        wire.send(packet(0x82, b"\0\x09\0" + b"".join(text(each) + b"\0" for each in "abcb")))
        answer = wire.read()
        assert isinstance(answer, SubAck)
        assert answer.reasons == [0, 0, 0x97, 0]


def patiently(connect: Callable[[], Wire]) -> Wire:
    """Connect, as soon as the broker has seen the end of the socket that found out whether it listens."""
    while True:
        try:
            return connect()
        except (ConnectionError, EOFError):
            time.sleep(0.01)


def test_too_many_connections(start: Start) -> None:
    with start(connections=2) as broker:
        first = patiently(broker.v4)
        patiently(broker.v4)
        third = broker.wire()
        third.ended()
        first.quiet()
