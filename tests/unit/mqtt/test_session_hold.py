"""A held session sends no QoS 1 and 2, whatever happens to it, and all of it in order afterwards."""

from __future__ import annotations

import pytest

from mqtt.codec import Decoder
from mqtt.messages import Message
from mqtt.outgoing import Outcome
from mqtt.packets import Publish
from mqtt.session import Session


def session(*, window: int = 10, queue: int = 10) -> Session:
    made = Session("c", "user1", uid="uid", queue_limit=queue)
    made.attach(version=5, window=window, max_packet=0)
    return made


def sent(one: Session) -> list[Publish]:
    data, one.out = b"".join(one.out), []
    decoder = Decoder(version=5)
    packets = decoder.feed(data)
    assert decoder.failure is None
    return [packet for packet in packets if isinstance(packet, Publish)]


def payloads(one: Session) -> list[bytes]:
    return [packet.payload for packet in sent(one)]


def deliver(one: Session, *contents: bytes, qos: int = 1) -> list[Outcome]:
    return [one.deliver(Message("t", content, qos=2), qos, 0.0) for content in contents]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_comes_while_it_is_held_waits_and_then_goes_in_order(qos: int) -> None:
    one = session(queue=3)
    one.hold()
    one.hold()
    outcomes = deliver(one, b"1", b"2", b"3", b"4", qos=qos)
    assert outcomes == [Outcome.QUEUED] * 3 + [Outcome.QUEUE_FULL]
    assert payloads(one) == []
    one.release(0.0)
    assert payloads(one) == [b"1", b"2", b"3"]
    assert deliver(one, b"5", qos=qos) == [Outcome.SENT]
    one.release(0.0)
    assert one.window == 10


def test_an_acknowledgement_sends_nothing_more_until_then() -> None:
    one = session(window=1)
    deliver(one, b"1", b"2")
    (first,) = sent(one)
    one.hold()
    one.acknowledge(first.packet_id, 0.0)
    assert payloads(one) == []
    one.release(0.0)
    assert payloads(one) == [b"2"]


def test_a_connection_that_takes_it_over_meanwhile_is_sent_nothing_either() -> None:
    one = session()
    deliver(one, b"1")
    sent(one)
    one.hold()
    one.detach()
    deliver(one, b"2")
    one.attach(version=5, window=5, max_packet=0)
    one.resume(0.0)
    assert sent(one) == []
    deliver(one, b"3")
    one.release(0.0)
    packets = sent(one)
    assert [(packet.payload, packet.dup) for packet in packets] == [(b"1", True), (b"2", False), (b"3", False)]
    assert one.window == 5


def test_what_is_purged_meanwhile_is_never_sent() -> None:
    one = session(window=2)
    deliver(one, b"1")
    (first,) = sent(one)
    one.hold()
    deliver(one, b"2", b"3")
    assert one.purge(lambda message: message.payload in {b"1", b"2"}) == 2
    one.release(0.0)
    assert payloads(one) == [b"3"]
    deliver(one, b"4")
    assert payloads(one) == []  # the client counts what was purged until it has answered it
    one.acknowledge(first.packet_id, 0.0)
    assert payloads(one) == [b"4"]
    assert one.window == 2


def test_qos_0_is_not_concerned() -> None:
    one = session()
    one.hold()
    assert deliver(one, b"1", qos=0) == [Outcome.SENT]
    assert payloads(one) == [b"1"]
