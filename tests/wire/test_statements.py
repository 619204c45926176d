"""Statements of the standard that no other test of the wire shows; each test names its own."""

from __future__ import annotations

import pytest

from mqtt.packets import Disconnect
from tests.corpus import connect, text
from tests.wire.conftest import CONNACK4, Running
from tests.wire.packets import DUP, QOS1, RETAIN, puback, publish, received, subscribe


def test_a_retained_will(broker: Running) -> None:
    """[MQTT-3.1.2-15], 3.1.1 the same"""
    watcher, late, topic = broker.v4(), broker.v4(), broker.name()
    subscribe(watcher, topic, 0)
    broker.v4(flags=0x24, rest=text(topic) + text("will")).vanish()
    watcher.expect(publish(watcher, topic, b"will"))
    subscribe(late, topic, 0)
    late.expect(publish(late, topic, b"will", flags=RETAIN))


def test_what_is_not_to_be_retained_leaves_what_is(broker: Running) -> None:
    """[MQTT-3.3.1-8], 3.1.1 [MQTT-2.1.2-12]"""
    wire, topic = broker.v4(), broker.name()
    wire.send(publish(wire, topic, b"old", flags=RETAIN), publish(wire, topic, b"new"), publish(wire, topic, b""))
    subscribe(wire, topic, 0)
    wire.expect(publish(wire, topic, b"old", flags=RETAIN))


def test_behind_a_puback_the_packet_id_is_a_new_message_whatever_dup_says(broker: Running) -> None:
    """[MQTT-4.3.2-5]"""
    wire, topic = broker.v4(), broker.name()
    subscribe(wire, topic, 0)
    for flags in (QOS1, QOS1 | DUP):
        wire.send(publish(wire, topic, flags=flags))
        assert {wire.packet(), wire.packet()} == {puback(1), publish(wire, topic)}


def test_the_longest_plain_client_id(broker: Running) -> None:
    """[MQTT-3.1.3-5]"""
    for name in ("0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"):
        wire = broker.wire()
        wire.send(connect(name, level=4))
        wire.expect(CONNACK4)


def test_nothing_behind_a_refused_connect_is_done(broker: Running) -> None:
    """[MQTT-3.1.4-6, 3.1.4-2], 3.1.1 [MQTT-3.1.4-3]"""
    watcher, wire, topic = broker.v5(), broker.wire(version=5), broker.name()
    subscribe(watcher, topic, 0)
    wire.send(connect(broker.name(), block=b"\x15\0\x05SCRAM"), publish(wire, topic))
    assert wire.packet()[3] == 0x8C
    wire.ended()
    watcher.quiet()


@pytest.mark.parametrize("number", [3, 8, 0x26])
def test_texts_in_properties_are_utf_8(broker: Running, number: int) -> None:
    """[MQTT-3.3.2-13, -19, 1.5.7-1]"""
    wire = broker.v5()
    wire.send(publish(wire, "t", block=bytes((number,)) + b"\0\x02\xc3\x28" + (b"\0\0" if number == 0x26 else b"")))
    answer = wire.read()
    assert isinstance(answer, Disconnect)
    assert answer.reason == 0x81
    wire.ended()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_shared_subscription_has_the_qos_that_was_granted(broker: Running, qos: int) -> None:
    """[MQTT-4.8.2-3]"""
    wire, topic = broker.v5(), broker.name()
    subscribe(wire, f"$share/g/{topic}", qos)
    sender = broker.v4()
    sender.send(publish(sender, topic, flags=4))
    assert received(wire).qos == qos


def test_what_a_member_refuses_goes_to_no_other(broker: Running) -> None:
    """[MQTT-4.8.2-6]"""
    one, two, sender, topic = broker.v5(), broker.v5(), broker.v4(), broker.name()
    subscribe(one, f"$share/g/{topic}", 1)
    sender.send(publish(sender, topic, flags=QOS1))
    sender.expect(puback(1))
    assert received(one).payload == b"x"
    subscribe(two, f"$share/g/{topic}", 1)
    one.send(b"\x40\x03\0\x01\x80")
    one.quiet()
    one.vanish()
    two.quiet()


def test_of_qos_2_nobody_else_gets_what_a_session_took_with_it(broker: Running) -> None:
    """[MQTT-4.8.2-5]"""
    one, two, sender, topic = broker.v5(), broker.v5(), broker.v4(), broker.name()
    subscribe(one, f"$share/g/{topic}", 2)
    sender.send(publish(sender, topic, flags=4))
    assert received(one).qos == 2
    subscribe(two, f"$share/g/{topic}", 2)
    one.send(b"\xe0\0")
    one.ended()
    two.quiet()
