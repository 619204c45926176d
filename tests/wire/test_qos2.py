"""QoS 2, byte for byte: both flows, what is sent twice, what is unknown, and what survives the connection."""

from __future__ import annotations

import pytest

from mqtt.packets import Disconnect, Publish
from tests.corpus import connect, text
from tests.wire.conftest import CONNACK4_PRESENT, Running
from tests.wire.packets import DUP, publish, received, subscribe

QOS2 = 4


def rec(number: int) -> bytes:
    return b"\x50\x02" + number.to_bytes(2, "big")


def rel(number: int) -> bytes:
    return b"\x62\x02" + number.to_bytes(2, "big")


def comp(number: int) -> bytes:
    return b"\x70\x02" + number.to_bytes(2, "big")


@pytest.mark.parametrize("version", [4, 5])
def test_both_ways(broker: Running, version: int) -> None:
    """[MQTT-4.3.3-1, -2, -4, -8, -11, 2.2.1-5, 3.3.4-1]"""
    make = broker.v4 if version == 4 else broker.v5
    sender, receiver, topic = make(), make(), broker.name()
    subscribe(receiver, topic, 2)
    sender.send(publish(sender, topic, flags=QOS2, packet_id=0xABCD))
    sender.expect(rec(0xABCD))
    receiver.expect(publish(receiver, topic, flags=QOS2, packet_id=1))
    sender.send(rel(0xABCD))
    sender.expect(comp(0xABCD))
    receiver.send(rec(1))
    receiver.expect(rel(1))
    receiver.send(comp(1))
    receiver.quiet()


@pytest.mark.parametrize("flags", [QOS2, QOS2 | DUP])
def test_until_pubrel_the_same_packet_id_is_the_same_message(broker: Running, flags: int) -> None:
    """[MQTT-4.3.3-10, -12]"""
    sender, receiver, topic = broker.v5(), broker.v5(), broker.name()
    subscribe(receiver, topic, 0)
    for _ in range(3):
        sender.send(publish(sender, topic, flags=flags))
        sender.expect(rec(1))
    receiver.expect(publish(receiver, topic))
    receiver.quiet()
    sender.send(rel(1))
    sender.expect(comp(1))
    sender.send(publish(sender, topic, b"new", flags=QOS2))
    sender.expect(rec(1))
    assert received(receiver).payload == b"new"


def test_a_packet_id_that_is_unknown(broker: Running) -> None:
    """[MQTT-4.3.3-11, -13]: answered all the same, so that the flow ends; 5 is told."""
    five, four = broker.v5(), broker.v4()
    five.send(rel(7), rec(8))
    five.expect(b"\x70\x03\0\x07\x92", b"\x62\x03\0\x08\x92")
    four.send(rel(7), rec(8))
    four.expect(comp(7), rel(8))
    four.quiet()


def test_a_refusal_ends_the_flow_in_5_and_is_silent_in_3_1_1(start_free: Running) -> None:
    """[MQTT-4.3.3-9, 3.5.2-1]"""
    five, four = start_free.v5(), start_free.v4()
    five.send(publish(five, "$SYS/x", flags=QOS2))
    five.expect(b"\x50\x03\0\x01\x87")
    five.send(rel(1))
    five.expect(b"\x70\x03\0\x01\x92")
    four.send(publish(four, "$SYS/x", flags=QOS2))
    four.expect(rec(1))
    four.send(rel(1))
    four.expect(comp(1))


@pytest.fixture
def start_free(broker: Running) -> Running:
    """`$SYS` is nobody's to publish on, wherever the broker runs."""
    return broker


def test_the_senders_state_survives_its_connection(broker: Running) -> None:
    """[MQTT-4.4.0-1, 4.1.0-1]: PUBREL, or the PUBLISH again, on a new connection: delivered once."""
    name, topic, receiver = broker.name(), broker.name(), broker.v4()
    subscribe(receiver, topic, 2)
    one = broker.v4(name, clean=False)
    one.send(publish(one, topic, flags=QOS2))
    one.expect(rec(1))
    one.vanish()
    one = broker.wire()
    one.send(connect(name, level=4, flags=0))
    one.expect(CONNACK4_PRESENT)
    one.send(publish(one, topic, flags=QOS2 | DUP), rel(1))
    one.expect(rec(1), comp(1))
    receiver.expect(publish(receiver, topic, flags=QOS2))
    receiver.quiet()


def test_the_receivers_state_survives_its_connection(broker: Running) -> None:
    """[MQTT-4.4.0-1, 4.3.3-3, -5, -6, 3.3.1-1]: PUBLISH with DUP before PUBREC, PUBREL after it."""
    name, topic, sender = broker.name(), broker.name(), broker.v4()
    one = broker.v4(name, clean=False)
    subscribe(one, topic, 2)
    sender.send(publish(sender, topic, b"1", flags=QOS2), publish(sender, topic, b"2", flags=QOS2, packet_id=2))
    sender.expect(rec(1), rec(2))
    one.expect(publish(one, topic, b"1", flags=QOS2), publish(one, topic, b"2", flags=QOS2, packet_id=2))
    one.send(rec(1))
    one.expect(rel(1))
    one.vanish()
    one = broker.wire()
    one.send(connect(name, level=4, flags=0))
    one.expect(CONNACK4_PRESENT)
    # PUBREL waits until it is on disk that the message is not to be sent again, PUBLISH waits for nothing.
    assert {one.packet(), one.packet()} == {rel(1), publish(one, topic, b"2", flags=QOS2 | DUP, packet_id=2)}
    one.send(comp(1), rec(2))
    one.expect(rel(2))


def test_a_client_that_refuses_gets_it_never_again(broker: Running) -> None:
    """[MQTT-4.4.0-2]"""
    name, topic, sender = broker.name(), broker.name(), broker.v5()
    keep = b"\x11\0\0\0\x3c"
    one = broker.v5(name, clean=False, block=keep)
    subscribe(one, topic, 2)
    sender.send(publish(sender, topic, flags=QOS2))
    sender.expect(rec(1))
    assert received(one).qos == 2
    one.send(b"\x50\x03\0\x01\x80")
    one.quiet()
    one.vanish()
    one = broker.v5(name, clean=False, block=keep)
    one.quiet()


def test_the_window_counts_what_is_between_pubrec_and_pubcomp(broker: Running) -> None:
    """[MQTT-3.3.4-9, -10, 4.9.0-2, -3]"""
    one, sender, topic = broker.v5(block=b"\x21\0\x01"), broker.v5(), broker.name()
    subscribe(one, topic, 2)
    sender.send(publish(sender, topic, b"1", flags=QOS2), publish(sender, topic, b"2", flags=QOS2, packet_id=2))
    sender.expect(rec(1), rec(2))
    assert received(one).payload == b"1"
    one.send(rec(1))
    one.expect(rel(1))
    one.quiet()
    one.send(comp(1))
    assert received(one).payload == b"2"


def test_an_answer_of_the_wrong_qos_is_an_error(broker: Running) -> None:
    one, sender, topic = broker.v5(), broker.v4(), broker.name()
    subscribe(one, topic, 2)
    sender.send(publish(sender, topic, flags=QOS2))
    assert received(one).qos == 2
    one.send(b"\x40\x02\0\x01")
    answer = one.read()
    assert isinstance(answer, Disconnect)
    assert answer.reason == 0x82
    one.ended()


def test_a_will_of_qos_2(broker: Running) -> None:
    """[MQTT-3.1.2-12]"""
    watcher, topic = broker.v5(), broker.name()
    subscribe(watcher, topic, 2)
    broker.v5(flags=0x14, rest=b"\0" + text(topic) + text("will")).vanish()
    assert received(watcher) == Publish(topic, b"will", qos=2, packet_id=1)
