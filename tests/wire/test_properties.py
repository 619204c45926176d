"""What the properties of a PUBLISH may say, topic aliases above all."""

from __future__ import annotations

import pytest

from mqtt.packets import Disconnect
from tests.corpus import text
from tests.wire.conftest import Running
from tests.wire.packets import QOS1, publish, received, subscribe


def violated(broker: Running, block: bytes, topic: str = "t") -> int:
    """The reason of the DISCONNECT that a PUBLISH with these properties gets."""
    wire = broker.v5()
    wire.send(publish(wire, topic, block=block))
    answer = wire.read()
    assert isinstance(answer, Disconnect)
    wire.ended()
    return answer.reason


def test_an_alias_stands_for_its_topic_within_its_connection(broker: Running) -> None:
    """[MQTT-3.3.2-7, -12]"""
    wire, other, receiver, base = broker.v5(), broker.v5(), broker.v5(), broker.name()
    subscribe(receiver, f"{base}/#", 0)
    wire.send(publish(wire, f"{base}/a", block=b"\x23\0\x10"), publish(wire, "", block=b"\x23\0\x10"))
    wire.send(publish(wire, f"{base}/b", block=b"\x23\0\x10"), publish(wire, "", block=b"\x23\0\x10"))
    for name in "aabb":
        receiver.expect(publish(receiver, f"{base}/{name}"))
    other.send(publish(other, "", block=b"\x23\0\x10"))
    assert other.packet()[2] == 0x82


@pytest.mark.parametrize("number", [0, 17, 65_535])
def test_an_alias_that_is_not_offered(broker: Running, number: int) -> None:
    """[MQTT-3.3.2-8]"""
    assert violated(broker, b"\x23" + number.to_bytes(2, "big")) == 0x94


def test_neither_a_topic_nor_an_alias(broker: Running) -> None:
    """5.0 §3.3.2.1; 3.1.1 [MQTT-4.7.3-1]"""
    assert violated(broker, b"", topic="") == 0x82
    four = broker.v4()
    four.send(publish(four, ""))
    four.ended()


def test_an_alias_that_nothing_was_named(broker: Running) -> None:
    assert violated(broker, b"\x23\0\x01", topic="") == 0x82


def test_a_client_that_takes_aliases_is_sent_the_topic_once(broker: Running) -> None:
    """[MQTT-3.3.2-11, 3.1.2-26]"""
    one, sender, base = broker.v5(block=b"\x22\0\x01"), broker.v5(), broker.name()
    subscribe(one, f"{base}/#", 1)
    a, b = f"{base}/a", f"{base}/b"
    sender.send(*(publish(sender, topic, flags=flags) for topic, flags in ((a, 0), (a, QOS1), (b, 0), (b, 0), (a, 0))))
    got = [received(one) for _ in range(5)]
    assert [packet.topic for packet in got] == [a, "", b, "", a]
    assert all(packet.properties == {"topic_alias": 1} for packet in got)


def test_a_client_that_takes_none_is_sent_none(broker: Running) -> None:
    """[MQTT-3.1.2-27]"""
    one, topic = broker.v5(), broker.name()
    subscribe(one, topic, 0)
    one.send(publish(one, topic), publish(one, topic))
    one.expect(publish(one, topic), publish(one, topic))


def test_a_subscription_identifier_is_not_for_a_client_to_send(broker: Running) -> None:
    """[MQTT-3.3.4-6]"""
    assert violated(broker, b"\x0b\x01") == 0x82


def test_a_response_topic_holds_no_wildcard(broker: Running) -> None:
    """[MQTT-3.3.2-14]"""
    assert violated(broker, b"\x08" + text("a/+")) == 0x82


def test_text_that_is_none_is_refused(broker: Running) -> None:
    """5.0 §3.3.2.3.2: PUBACK and PUBREC with 0x99, QoS 0 goes nowhere."""
    wire, topic = broker.v5(), broker.name()
    subscribe(wire, topic, 0)
    for flags, answer in ((0, None), (2, b"\x40"), (4, b"\x50")):
        wire.send(publish(wire, topic, b"\xff", flags=flags, block=b"\x01\x01"))
        if answer:
            packet = wire.packet()
            assert packet[:1] == answer
            assert packet[4] == 0x99
    wire.quiet()
