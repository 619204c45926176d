"""A session's QoS 2, what a returning client takes less of, what is purged under way, and aliases."""

from __future__ import annotations

import pytest

from mqtt.aliases import SentAliases
from mqtt.codec import Decoder
from mqtt.messages import Message
from mqtt.outgoing import Outcome
from mqtt.packets import Packet, Publish, PubRel
from mqtt.qos2 import Answer, Awaits, Event, Heard, after
from mqtt.reasons import ProtocolViolation
from mqtt.retained import RetainedMessages
from mqtt.session import Session


def session(*, window: int = 10, dropped: list[Outcome] | None = None) -> Session:
    made = Session("c", "user1", uid="uid", queue_limit=10, dropped=(dropped if dropped is not None else []).append)
    made.attach(version=5, window=window, max_packet=0)
    return made


def came(one: Session) -> list[Packet]:
    data, one.out = b"".join(one.out), []
    return Decoder(version=one.version).feed(data)


def deliver(one: Session, *payloads: bytes, qos: int = 2, expires_at: float | None = None) -> None:
    for payload in payloads:
        one.deliver(Message("t", payload, qos=qos, expires_at=expires_at), qos, 0.0)


def back(one: Session, *, window: int = 10, max_packet: int = 0) -> list[Packet]:
    one.detach()
    one.attach(version=5, window=window, max_packet=max_packet)
    one.resume(0.0)
    return came(one)


def payloads(packets: list[Packet]) -> list[bytes]:
    return [packet.payload for packet in packets if isinstance(packet, Publish)]


@pytest.mark.parametrize(
    ("awaits", "heard"),
    [
        (Awaits.PUBACK, Heard.RECEIVED),
        (Awaits.PUBACK, Heard.PUBCOMP),
        (Awaits.PUBREC, Heard.PUBACK),
        (Awaits.PUBREC, Heard.PUBCOMP),
        (Awaits.PUBCOMP, Heard.PUBACK),
    ],
)
def test_what_is_absent_from_the_table_is_a_protocol_error(awaits: Awaits, heard: Heard) -> None:
    with pytest.raises(ProtocolViolation):
        after(awaits, heard)


def test_the_receiving_half_forgets_what_it_has_not_answered() -> None:
    inbound = session().inbound
    assert inbound.happens(1, Event.PUBLISH) is Answer.NOTHING
    assert inbound.happens(1, Event.PUBLISH) is Answer.NOTHING
    assert inbound.happens(2, Event.PUBLISH) is Answer.NOTHING
    assert inbound.happens(2, Event.TAKEN) is Answer.PUBREC
    with pytest.raises(ProtocolViolation):
        inbound.happens(1, Event.PUBREL)
    inbound.lost()
    assert list(inbound.held) == [2]


def test_a_returning_client_is_sent_as_many_as_it_takes_now() -> None:
    """[MQTT-3.3.4-9, 4.9.0-1, 4.6.0-1]"""
    one = session()
    deliver(one, b"1", b"2", b"3", b"4", qos=1)
    came(one)
    again = back(one, window=2)
    assert payloads(again) == [b"1", b"2"]
    deliver(one, b"5", qos=1)
    one.acknowledge(1, 0.0)
    (third,) = came(one)
    assert isinstance(third, Publish)
    assert (third.payload, third.dup, third.packet_id) == (b"3", True, 3)
    for number in (2, 3, 4):
        one.acknowledge(number, 0.0)
    assert payloads(came(one)) == [b"4", b"5"]


def test_what_was_purged_under_way_counts_until_the_client_answers() -> None:
    one = session(window=2)
    deliver(one, b"1", b"2")
    came(one)
    assert one.purge(lambda message: message.payload == b"1") == 1
    deliver(one, b"3")
    assert came(one) == []
    assert one.acknowledge(1, 0.0, Heard.RECEIVED) is None
    assert came(one) == [PubRel(1)]
    one.acknowledge(1, 0.0, Heard.PUBCOMP)
    assert payloads(came(one)) == [b"3"]
    assert one.window == 2


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_purged_is_not_sent_again_and_its_packet_id_is_freed(qos: int) -> None:
    one = session()
    deliver(one, b"1", qos=qos)
    came(one)
    one.purge(lambda _message: True)
    assert back(one, window=2) == ([PubRel(1)] if qos == 2 else [])
    one.acknowledge(1, 0.0, Heard.PUBCOMP if qos == 2 else Heard.PUBACK)
    assert one.window == 2


def test_what_the_client_no_longer_takes_is_dropped_and_counted() -> None:
    """[MQTT-3.1.2-25]"""
    dropped: list[Outcome] = []
    one = session(window=1, dropped=dropped)
    deliver(one, b"x" * 100)
    deliver(one, b"late", qos=1, expires_at=5.0)
    deliver(one, b"y" * 100, b"small")
    came(one)
    one.detach()
    one.attach(version=5, window=2, max_packet=50)
    one.resume(6.0)
    assert came(one) == [PubRel(1), Publish("t", b"small", qos=2, packet_id=2)]
    assert dropped == [Outcome.TOO_LARGE, Outcome.EXPIRED, Outcome.TOO_LARGE]


def test_what_was_sent_does_not_expire() -> None:
    """[MQTT-4.3.3-7]"""
    one = session()
    deliver(one, b"1", expires_at=5.0)
    came(one)
    one.detach()
    one.attach(version=5, window=10, max_packet=0)
    one.resume(60.0)
    assert payloads(came(one)) == [b"1"]


def test_the_alias_used_longest_ago_makes_room() -> None:
    aliases = SentAliases(2)
    assert [aliases.use(topic) for topic in "abacb"] == [(1, False), (2, False), (1, True), (2, False), (1, False)]


def test_an_alias_never_makes_a_packet_too_large() -> None:
    plain = len(b"".join(Message("topic", b"x" * 40).parts(5, 0, retain=False)))
    one = Session("c", "user1", uid="uid")
    one.attach(version=5, window=1, max_packet=plain, aliases=5)
    assert one.deliver(Message("topic", b"x" * 30), 0, 0.0) is Outcome.SENT
    assert one.deliver(Message("topic", b"x" * 37), 0, 0.0) is Outcome.SENT
    assert all(len(packet) <= plain for packet in (b"".join(one.out[:2]), b"".join(one.out[2:])))


def test_expired_retained_messages_take_no_place() -> None:
    store = RetainedMessages(limit=1)
    for number in range(300):
        assert store.put(Message("a", b"1", expires_at=1000.0 + number))
    assert len(store._ends) < 110
    assert not store.put(Message("b", b"1"))
    store.evict(1298.0)
    assert store.count == 1
    store.evict(1299.0)
    assert store.count == 0
    assert store.put(Message("b", b"1"))
