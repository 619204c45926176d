"""Publishing and subscribing, byte for byte: QoS, filters, share groups."""

from __future__ import annotations

import pytest

from mqtt.packets import Publish, SubAck
from tests.corpus import KOREAN, KOREAN_NFD, packet, text
from tests.wire.conftest import Running, Start
from tests.wire.packets import QOS1, RETAIN, puback, publish, received, subscribe

# ---- QoS


@pytest.mark.parametrize("version", [4, 5])
def test_qos_0(broker: Running, version: int) -> None:
    sender, receiver, topic = broker.v4(), (broker.v4 if version == 4 else broker.v5)(), broker.name()
    subscribe(receiver, topic)
    sender.send(publish(sender, topic, b"\0\xff"))
    receiver.expect(publish(receiver, topic, b"\0\xff"))
    sender.quiet()


@pytest.mark.parametrize("version", [4, 5])
def test_qos_1_both_ways(broker: Running, version: int) -> None:
    make = broker.v4 if version == 4 else broker.v5
    sender, receiver, topic = make(), make(), broker.name()
    subscribe(receiver, topic)
    sender.send(publish(sender, topic, flags=QOS1, packet_id=0xABCD))
    sender.expect(puback(0xABCD))
    receiver.expect(publish(receiver, topic, flags=QOS1, packet_id=1))
    receiver.send(puback(1))
    receiver.quiet()


def test_the_lower_qos_wins(broker: Running) -> None:
    sender, zero, one, topic = broker.v4(), broker.v4(), broker.v4(), broker.name()
    subscribe(zero, topic, 0)
    subscribe(one, topic, 2)
    sender.send(publish(sender, topic, flags=QOS1), publish(sender, topic, b"y"))
    sender.expect(puback(1))
    zero.expect(publish(zero, topic), publish(zero, topic, b"y"))
    one.expect(publish(one, topic, flags=QOS1), publish(one, topic, b"y"))


def test_a_publish_that_nobody_gets_says_so_in_5_only(broker: Running) -> None:
    five, four, topic = broker.v5(), broker.v4(), broker.name()
    five.send(publish(five, topic, flags=QOS1))
    five.expect(b"\x40\x03\0\x01\x10")
    four.send(publish(four, topic, flags=QOS1))
    four.expect(puback(1))


def test_order_is_kept(broker: Running) -> None:
    sender, receiver, topic = broker.v4(), broker.v4(), broker.name()
    subscribe(receiver, topic)
    sender.send(*(publish(sender, topic, str(n).encode(), flags=QOS1, packet_id=n) for n in range(1, 200)))
    for number in range(1, 200):
        sender.expect(puback(number))
        receiver.expect(publish(receiver, topic, str(number).encode(), flags=QOS1, packet_id=number))


@pytest.mark.parametrize("word", [KOREAN, KOREAN_NFD, "🧧", "\ufeffa", " a "])
def test_topics_travel_byte_for_byte(broker: Running, word: str) -> None:
    wire, topic = broker.v4(), f"{broker.name()}/{word}"
    subscribe(wire, topic)
    wire.send(publish(wire, topic, word.encode()))
    wire.expect(publish(wire, topic, word.encode()))


def test_composed_and_decomposed_are_two_topics(broker: Running) -> None:
    wire, base = broker.v4(), broker.name()
    subscribe(wire, f"{base}/\u00e9")
    wire.send(publish(wire, f"{base}/e\u0301"))
    wire.quiet()


def test_properties_travel_and_a_lifetime_with_them(broker: Running) -> None:
    sender, receiver, topic = broker.v5(), broker.v5(), broker.name()
    subscribe(receiver, topic)
    block = b"\x01\x01\x02\0\0\x0e\x10\x03\0\x04text\x08\0\x01r\x09\0\x01\xff\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w"
    sender.send(publish(sender, topic, block=block))
    got = received(receiver)
    assert 3590 <= got.properties.pop("message_expiry_interval") <= 3600
    assert got.properties == {
        "payload_format_indicator": 1,
        "content_type": "text",
        "response_topic": "r",
        "correlation_data": b"\xff",
        "user_property": [("k", "v"), ("k", "w")],
    }


def test_user_properties_go_on_unaltered_and_in_order(broker: Running) -> None:
    """[MQTT-3.3.2-17, -18]: also those whose names mean something between the services of a Pabal broker."""
    wire, topic = broker.v5(), broker.name()
    subscribe(wire, topic)
    pairs = [("mark", "5"), ("k", "v"), ("ingest", "i"), ("k", "v"), ("", ""), ("열쇠", "값\ufeff"), ("a", "z")]
    wire.send(publish(wire, topic, block=b"".join(b"\x26" + text(name) + text(value) for name, value in pairs)))
    assert received(wire).properties == {"user_property": pairs}


# ---- subscriptions


def test_no_local(broker: Running) -> None:
    wire, other, topic = broker.v5(), broker.v5(), broker.name()
    subscribe(wire, topic, 0x05)
    wire.send(publish(wire, topic, b"mine"))
    wire.quiet()
    other.send(publish(other, topic, b"other"))
    assert received(wire).payload == b"other"


def test_overlapping_filters_are_one_delivery_with_the_highest_qos_and_every_identifier(broker: Running) -> None:
    wire, base = broker.v5(), broker.name()
    subscribe(wire, f"{base}/+", 0, block=b"\x0b\x05")
    subscribe(wire, f"{base}/#", 1, block=b"\x0b\x80\x01")
    subscribe(wire, f"{base}/a", 0)
    wire.send(publish(wire, f"{base}/a", flags=QOS1))
    answers = [wire.read(), wire.read()]
    (got,) = (answer for answer in answers if isinstance(answer, Publish))
    assert got.qos == 1
    assert sorted(got.properties["subscription_identifier"]) == [5, 128]
    wire.quiet()


def test_a_filter_without_no_local_delivers_beside_one_with_it(broker: Running) -> None:
    wire, base = broker.v5(), broker.name()
    subscribe(wire, f"{base}/a", 0x05)
    subscribe(wire, f"{base}/+", 0)
    wire.send(publish(wire, f"{base}/a", b"mine"))
    assert received(wire).payload == b"mine"
    wire.quiet()


def test_a_subscription_is_replaced_by_the_next_to_the_same_filter(broker: Running) -> None:
    wire, topic = broker.v5(), broker.name()
    subscribe(wire, topic, 1, block=b"\x0b\x05")
    subscribe(wire, topic, 0, block=b"\x0b\x06")
    wire.send(publish(wire, topic, flags=QOS1))
    got = received(wire)
    assert (got.qos, got.properties) == (0, {"subscription_identifier": [6]})


def test_unsubscribe(broker: Running) -> None:
    five, four, topic = broker.v5(), broker.v4(), broker.name()
    for wire in (five, four):
        subscribe(wire, topic)
    five.send(packet(0xA2, b"\0\x03\0" + text(topic) + text("never")))
    five.expect(b"\xb0\x05\0\x03\0\0\x11")
    four.send(packet(0xA2, b"\0\x03" + text(topic)))
    four.expect(b"\xb0\x02\0\x03")
    four.send(publish(four, topic))
    four.quiet()
    five.quiet()


def test_denied_and_invalid_filters_are_refused_one_by_one(broker: Running) -> None:
    five, four, good = broker.v5(), broker.v4(), broker.name()
    filters = b"".join(text(each) + b"\1" for each in (good, "denied/#", "a/#/b", "", "$share/g", "x/" * 40))
    five.send(packet(0x82, b"\0\x09\0" + filters))
    answer = five.read()
    assert isinstance(answer, SubAck)
    assert (answer.packet_id, answer.reasons) == (9, [0x01, 0x87, 0x8F, 0x8F, 0x8F, 0x8F])
    assert set(answer.properties) == {"reason_string"}
    four.send(packet(0x82, b"\0\x09" + filters))
    four.expect(packet(0x90, b"\0\x09\x01\x80\x80\x80\x80\x80"))
    five.send(publish(five, "denied/x"))
    five.quiet()


def test_topics_that_start_with_a_dollar_are_the_brokers(start: Start) -> None:
    with start() as broker:
        five, four = broker.v5(), broker.v4()
        for wire, topic in ((five, "#"), (four, "$SYS/x"), (four, "+/x")):
            subscribe(wire, topic, 0)
        five.send(publish(five, "$SYS/x", flags=QOS1))
        five.expect(b"\x40\x03\0\x01\x87")
        four.send(publish(four, "$events/connected", flags=QOS1))
        four.expect(puback(1))
        four.quiet()
        five.quiet()


def test_too_deep_a_topic(broker: Running) -> None:
    wire = broker.v5()
    wire.send(publish(wire, "a" + "/a" * 40))
    assert wire.packet()[2] == 0x90
    wire.ended()


# ---- share groups


def test_of_a_share_group_one_gets_each_message_and_the_others_outside_all(broker: Running) -> None:
    one, two, outside, sender, base = (*(broker.v4() for _ in range(4)), broker.name())
    for wire in (one, two):
        subscribe(wire, f"$share/g/{base}/+", 0)
    subscribe(outside, f"{base}/#", 0)
    topics = [f"{base}/{number}" for number in range(40)]
    sender.send(*(publish(sender, topic) for topic in topics), *(publish(sender, topic) for topic in topics))
    for topic in topics * 2:
        outside.expect(publish(outside, topic))
    parts = []
    for wire in (one, two):
        wire.send(b"\xc0\0")
        part = []
        while (got := wire.packet()) != b"\xd0\0":
            part.append(got)
        parts.append(part)
    assert sorted(parts[0] + parts[1]) == sorted(publish(sender, topic) for topic in topics * 2)
    assert not set(parts[0]) & set(parts[1])  # each topic sticks to one member
    assert parts[0]
    assert parts[1]


def test_when_a_member_of_a_share_group_goes_the_others_take_over(broker: Running) -> None:
    one, two, sender, base = broker.v4(), broker.v4(), broker.v4(), broker.name()
    for wire in (one, two):
        subscribe(wire, f"$share/g/{base}/+", 0)
    two.send(b"\xe0\0")
    two.ended()
    topics = [f"{base}/{number}" for number in range(20)]
    sender.send(*(publish(sender, topic) for topic in topics))
    for topic in topics:
        one.expect(publish(one, topic))


def test_a_share_group_gets_nothing_retained_and_no_local_is_an_error(broker: Running) -> None:
    wire, topic = broker.v5(), broker.name()
    wire.send(publish(wire, topic, flags=RETAIN))
    subscribe(wire, f"$share/g/{topic}")
    wire.quiet()
    wire.send(packet(0x82, b"\0\x09\0" + text(f"$share/g/{topic}") + b"\x05"))
    assert wire.packet()[2] == 0x82
    wire.ended()
