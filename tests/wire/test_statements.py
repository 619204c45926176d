"""Statements of the standard that no other test of the wire shows; each test names its own."""

from __future__ import annotations

import pytest

from mqtt.packets import Disconnect, Publish, UnsubAck
from tests.corpus import connect, packet, text
from tests.wire.conftest import CONNACK4, CONNACK4_PRESENT, Running, Wire
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


@pytest.mark.parametrize(
    ("flags", "rest"),
    [(6, b""), (6, text("w")), (2, text("user1")), (0x82, text("user1") + text("password")), (2, text("w") + text(""))],
)
def test_what_the_connect_flags_promise_is_there_and_nothing_else(broker: Running, flags: int, rest: bytes) -> None:
    """3.1.1 [MQTT-3.1.2-9, -16, -18]: topic and message of a will, user name, password"""
    wire = broker.wire()
    wire.send(connect(level=4, flags=flags, rest=rest))
    wire.ended()


def test_3_1_1_gets_one_message_for_overlapping_filters_with_the_highest_qos(broker: Running) -> None:
    """3.1.1 [MQTT-3.3.5-1]"""
    wire, sender, base = broker.v4(), broker.v4(), broker.name()
    for topic, qos in ((f"{base}/+", 1), (f"{base}/#", 2), (f"{base}/a", 0)):
        subscribe(wire, topic, qos)
    sender.send(publish(sender, f"{base}/a", flags=4))
    assert (received(wire).qos, wire.quiet()) == (2, None)


def test_3_1_1_a_subscription_that_is_replaced_brings_what_is_retained_and_misses_nothing(broker: Running) -> None:
    """3.1.1 [MQTT-3.8.4-3]"""
    wire, sender, topic = broker.v4(), broker.v4(), broker.name()
    sender.send(publish(sender, topic, b"old", flags=RETAIN | QOS1))
    sender.expect(puback(1))
    for qos in (0, 1):
        subscribe(wire, topic, qos)
        kept = received(wire)
        assert (kept.payload, kept.retain, kept.qos) == (b"old", True, qos)
        sender.send(publish(sender, topic, b"new", flags=QOS1))
        sender.expect(puback(1))
        live = received(wire)
        assert (live.payload, live.retain, live.qos) == (b"new", False, qos)
    wire.quiet()  # the first subscription is gone: each message came once


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_under_way_is_completed_after_unsubscribe(broker: Running, version: int, qos: int) -> None:
    """[MQTT-3.10.4-3], 3.1.1 [MQTT-3.10.3-3]: also on the next connection"""
    name, topic, sender = broker.name(), broker.name(), broker.v4()

    def again() -> Wire:
        wire = broker.wire(version=version)
        wire.send(connect(name, level=version, flags=0, block=b"\x11\0\0\0\x3c"))
        wire.packet()
        return wire

    wire = again()
    subscribe(wire, topic, qos)
    sender.send(publish(sender, topic, b"x", flags=qos << 1))
    assert received(wire).qos == qos
    wire.send(packet(0xA2, b"\0\x03" + (b"\0" if version == 5 else b"") + text(topic)))
    assert isinstance(wire.read(), UnsubAck)
    wire.vanish()
    wire = again()
    got = received(wire)
    assert (got.payload, got.qos, got.dup) == (b"x", qos, True)
    number = got.packet_id.to_bytes(2, "big")
    if qos == 1:
        wire.send(puback(got.packet_id))
    else:
        wire.send(b"\x50\x02" + number)
        wire.expect(b"\x62\x02" + number)
        wire.send(b"\x70\x02" + number)
    wire.quiet()
    wire.vanish()
    again().quiet()


def test_a_qos_2_flow_goes_on_though_the_message_has_expired(broker: Running) -> None:
    """[MQTT-4.3.3-13]: nobody gets it, and the publisher's packet id is held and freed as ever."""
    wire, topic = broker.v5(), broker.name()
    subscribe(wire, topic, 2)
    expired = publish(wire, topic, flags=4, block=b"\x02\0\0\0\0")
    wire.send(expired, expired)
    wire.expect(b"\x50\x02\0\x01", b"\x50\x02\0\x01")
    wire.send(b"\x62\x02\0\x01")
    wire.expect(b"\x70\x02\0\x01")
    wire.quiet()
    wire.send(b"\x62\x02\0\x01")
    wire.expect(b"\x70\x03\0\x01\x92")


def test_dup_says_whether_it_is_the_first_time(broker: Running) -> None:
    """3.1.1 [MQTT-2.1.2-2, -3], 5.0 [MQTT-3.3.1-3]: of the delivery, whatever the publisher's said."""
    name, topic, sender = broker.name(), broker.name(), broker.v4()
    wire = broker.v4(name, clean=False)
    subscribe(wire, topic)
    sender.send(publish(sender, topic, flags=QOS1 | DUP))
    wire.expect(publish(wire, topic, flags=QOS1))
    wire.vanish()
    wire = broker.wire()
    wire.send(connect(name, level=4, flags=0))
    wire.expect(CONNACK4_PRESENT, publish(wire, topic, flags=QOS1 | DUP))


def test_pubrels_come_again_in_the_order_of_the_pubrecs(broker: Running) -> None:
    """[MQTT-4.6.0-4] is the client's; ours keep it too."""
    name, topic, sender = broker.name(), broker.name(), broker.v4()
    wire = broker.v4(name, clean=False)
    subscribe(wire, topic, 2)
    sender.send(*(publish(sender, topic, bytes((n,)), flags=4, packet_id=n) for n in (1, 2, 3)))
    assert [received(wire).packet_id for _ in range(3)] == [1, 2, 3]
    for number in (3, 1, 2):
        wire.send(b"\x50\x02\0" + bytes((number,)))
        wire.expect(b"\x62\x02\0" + bytes((number,)))
    wire.vanish()
    wire = broker.wire()
    wire.send(connect(name, level=4, flags=0))
    wire.expect(CONNACK4_PRESENT, *(b"\x62\x02\0" + bytes((number,)) for number in (3, 1, 2)))


def test_response_information_may_be_asked_for_and_is_not_there(broker: Running) -> None:
    """[MQTT-3.1.2-28]: request and response work all the same, with a topic that the client chooses."""
    asker, answerer, topic = broker.wire(version=5), broker.v5(), broker.name()
    asker.send(connect(broker.name(), block=b"\x19\x01"))
    assert b"\x1a" not in asker.packet()
    subscribe(asker, f"{topic}/answers", 0)
    subscribe(answerer, topic, 0)
    asker.send(publish(asker, topic, b"?", block=b"\x08" + text(f"{topic}/answers") + b"\x09\0\x02\0\xff"))
    request = received(answerer)
    to, data = request.properties["response_topic"], request.properties["correlation_data"]
    answerer.send(publish(answerer, to, b"!", block=b"\x09" + len(data).to_bytes(2, "big") + data))
    assert received(asker) == Publish(to, b"!", properties={"correlation_data": b"\0\xff"})


def test_5_without_a_keep_alive_or_with_a_longer_one_is_given_ours(broker: Running) -> None:
    """5.0 §3.1.2.10, [MQTT-3.2.2-21]"""
    assert b"\x13\x02\x58" in _connack(broker, connect(broker.name(), keep_alive=0))
    assert b"\x13" not in _connack(broker, connect(broker.name(), keep_alive=600))
    assert b"\x13\x02\x58" in _connack(broker, connect(broker.name(), keep_alive=601))


def _connack(broker: Running, hello: bytes) -> bytes:
    wire = broker.wire(version=5)
    wire.send(hello)
    return wire.packet()


def test_a_qos_0_message_that_fits_to_the_byte_is_sent(broker: Running) -> None:
    """[MQTT-3.1.2-24]: the size that a client takes is of the whole packet, and QoS 0 has no packet id."""
    topic = broker.name()
    small, sender = broker.v5(block=b"\x27\0\0\0\x64"), broker.v5()
    subscribe(small, topic, 0)
    fits = publish(sender, topic, b"x" * (100 - 2 - 2 - len(topic) - 1))
    assert len(fits) == 100
    sender.send(fits, publish(sender, topic, b"y" * (100 - 2 - 2 - len(topic))), publish(sender, topic, b"z"))
    small.expect(fits, publish(small, topic, b"z"))
