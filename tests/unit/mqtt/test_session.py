"""One client's session: window, queue, resend order, packet ids, ingest ids, expiry."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mqtt.codec import Decoder
from mqtt.messages import Message
from mqtt.outgoing import Outcome
from mqtt.packets import Publish
from mqtt.session import MAX_PACKET_ID, Session

CONTENT = b"x"


def session(*, window: int = 10, queue: int = 10, version: int = 5, max_packet: int = 0) -> Session:
    made = Session("c", "user1", uid="uid", queue_limit=queue)
    made.attach(version=version, window=window, max_packet=max_packet)
    return made


def sent(one: Session) -> list[Publish]:
    """What the session has to send, taken out and read."""
    data, one.out = b"".join(one.out), []
    decoder = Decoder(version=one.version)
    packets = decoder.feed(data)
    assert decoder.failure is None
    assert decoder.pending == 0
    return [packet for packet in packets if isinstance(packet, Publish)]


def message(payload: bytes = CONTENT, topic: str = "t", *, expires_at: float | None = None) -> Message:
    return Message(topic, payload, qos=1, expires_at=expires_at)


def deliver(one: Session, *payloads: bytes, now: float = 0.0) -> list[Outcome]:
    return [one.deliver(message(payload), 1, now) for payload in payloads]


# ---- windows and queues


def test_beyond_the_window_messages_wait_and_each_puback_sends_the_next_in_order() -> None:
    one = session(window=2)
    assert deliver(one, b"1", b"2", b"3", b"4") == [Outcome.SENT] * 2 + [Outcome.QUEUED] * 2
    first, second = sent(one)
    assert (first.payload, second.payload) == (b"1", b"2")
    assert one.acknowledge(second.packet_id, 0.0) is not None
    assert [packet.payload for packet in sent(one)] == [b"3"]
    one.acknowledge(first.packet_id, 0.0)
    assert [packet.payload for packet in sent(one)] == [b"4"]
    assert len(one.inflight) == 2


def test_a_puback_for_nothing_is_nothing() -> None:
    one = session()
    assert one.acknowledge(7, 0.0) is None
    deliver(one, b"1")
    (packet,) = sent(one)
    assert one.acknowledge(packet.packet_id, 0.0) is not None
    assert one.acknowledge(packet.packet_id, 0.0) is None


def test_a_full_queue_drops_the_next_and_keeps_what_waits() -> None:
    one = session(window=1, queue=2)
    assert deliver(one, b"1", b"2", b"3", b"4") == [Outcome.SENT, Outcome.QUEUED, Outcome.QUEUED, Outcome.QUEUE_FULL]
    assert [waiting.message.payload for waiting in one.queue] == [b"2", b"3"]


def test_what_somebody_waits_for_is_never_dropped() -> None:
    one = session(window=1, queue=0)
    deliver(one, b"1")
    assert one.deliver(message(b"2"), 1, 0.0) is Outcome.QUEUE_FULL
    assert one.deliver(message(b"3"), 1, 0.0, origin="publisher") is Outcome.QUEUED


def test_qos_0_is_sent_or_dropped() -> None:
    one = session(window=1)
    deliver(one, b"1", b"2")
    assert one.deliver(message(), 0, 0.0) is Outcome.SENT
    one.stalled = True
    assert one.deliver(message(), 0, 0.0) is Outcome.STALLED
    one.detach()
    assert one.deliver(message(), 0, 0.0) is Outcome.OFFLINE


# ---- coming back


def test_what_was_under_way_comes_again_first_with_dup_and_the_same_ids_in_the_same_order() -> None:
    one = session(window=3)
    deliver(one, b"1", b"2", b"3", b"4")
    before = sent(one)
    one.acknowledge(before[0].packet_id, 0.0)
    before = before[1:] + sent(one)
    one.detach()
    assert deliver(one, b"5") == [Outcome.QUEUED]
    one.attach(version=5, window=10, max_packet=0)
    one.resume(0.0)
    again = sent(one)
    assert [(p.packet_id, p.payload, p.dup) for p in again] == [
        *((p.packet_id, p.payload, True) for p in before),
        (again[-1].packet_id, b"5", False),
    ]


def test_a_session_may_come_back_with_the_other_protocol_version() -> None:
    one = session(version=5)
    deliver(one, b"1")
    one.detach()
    one.attach(version=4, window=10, max_packet=0)
    one.resume(0.0)
    assert [packet.payload for packet in sent(one)] == [b"1"]


def test_packet_ids_wrap_and_never_collide_with_one_that_is_under_way() -> None:
    one = session(window=2)
    deliver(one, b"held")
    (held,) = sent(one)
    for _ in range(MAX_PACKET_ID + 10):
        deliver(one, b"x")
        (packet,) = sent(one)
        assert packet.packet_id != held.packet_id
        assert 1 <= packet.packet_id <= MAX_PACKET_ID
        one.acknowledge(packet.packet_id, 0.0)


# ---- what may no longer be sent


def test_purge_takes_out_what_waits_and_what_is_under_way_and_nothing_else() -> None:
    one = session(window=2)
    for topic in ("bad", "good", "bad", "good", "bad"):
        one.deliver(message(topic.encode(), topic), 1, 0.0)
    assert one.purge(lambda each: each.topic == "bad") == 3
    assert [outgoing.message.topic for outgoing in one.inflight.values()] == ["good"]
    assert [outgoing.message.topic for outgoing in one.queue] == ["good"]
    one.detach()
    one.attach(version=5, window=2, max_packet=0)
    one.resume(0.0)
    assert {packet.topic for packet in sent(one)} == {"good"}


def test_after_a_purge_what_waits_behind_it_does_not_starve() -> None:
    one = session(window=1)
    for topic in ("bad", "good"):
        one.deliver(message(topic.encode(), topic), 1, 0.0)
    (bad,) = sent(one)
    one.purge(lambda each: each.topic == "bad")
    one.acknowledge(bad.packet_id, 0.0)  # the client acknowledges what it got all the same
    assert [packet.topic for packet in sent(one)] == ["good"]


def test_origins_are_taken_out_in_order_and_the_rest_stays() -> None:
    one = session(window=2)
    for payload, origin in ((b"1", "a"), (b"2", None), (b"3", None), (b"4", "b")):
        one.deliver(message(payload), 1, 0.0, origin=origin)
    assert [(taken.origin, taken.message.payload) for taken in one.take_origins()] == [("a", b"1"), ("b", b"4")]
    assert [outgoing.message.payload for outgoing in one.inflight.values()] == [b"2"]
    assert [outgoing.message.payload for outgoing in one.queue] == [b"3"]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_packet_larger_than_the_client_takes_is_not_sent(qos: int) -> None:
    size = len(b"".join(Message("t", b"x" * 50, qos=1).parts(5, qos, retain=False))) + (2 if qos else 0)
    assert session(max_packet=size).deliver(message(b"x" * 50), qos, 0.0) is Outcome.SENT
    assert session(max_packet=size - 1).deliver(message(b"x" * 50), qos, 0.0) is Outcome.TOO_LARGE


def test_identifiers_and_a_lifetime_count_towards_the_size() -> None:
    plain = len(b"".join(message(b"x" * 50).parts(5, 1, retain=False))) + 2
    one = session(max_packet=plain + 3)
    outcome = one.deliver(message(b"x" * 50, expires_at=60.0), 1, 0.0, identifiers=(70_000,))
    assert sum(map(len, one.out)) <= plain + 3
    assert outcome is Outcome.TOO_LARGE


def test_what_the_client_no_longer_takes_is_not_sent_again() -> None:
    one = session()
    deliver(one, b"x" * 100, b"small")
    one.detach()
    one.attach(version=5, window=10, max_packet=50)
    one.resume(0.0)
    assert [packet.payload for packet in sent(one)] == [b"small"]
    assert len(one.inflight) == 1


# ---- lifetimes


def test_a_lifetime_is_counted_down_and_is_not_told_to_3_1_1() -> None:
    lives = Message("t", b"x", qos=1, properties={"message_expiry_interval": 60}, expires_at=160.0)
    one = session()
    one.deliver(lives, 1, 110.4)
    one.deliver(lives, 0, 150.0)
    assert [packet.properties for packet in sent(one)] == [
        {"message_expiry_interval": 50},
        {"message_expiry_interval": 10},
    ]
    old = session(version=4)
    old.deliver(lives, 1, 110.0)
    assert sent(old)[0].properties == {}


def test_what_has_expired_is_neither_taken_nor_sent_from_the_queue() -> None:
    one = session(window=1)
    assert one.deliver(message(expires_at=5.0), 1, 5.0) is Outcome.EXPIRED
    deliver(one, b"1")
    one.deliver(message(b"2", expires_at=5.0), 1, 0.0)
    deliver(one, b"3")
    (first,) = sent(one)
    one.acknowledge(first.packet_id, 6.0)
    assert [packet.payload for packet in sent(one)] == [b"3"]


def test_one_message_is_the_same_for_all_its_receivers() -> None:
    shared = Message("t", b"x", qos=1, properties={"content_type": "a"}, expires_at=100.0)
    one, other = session(), session()
    one.deliver(shared, 1, 0.0, identifiers=(7, 8))
    other.deliver(shared, 1, 40.0, retain=True)
    assert sent(one)[0].properties == {
        "content_type": "a",
        "message_expiry_interval": 100,
        "subscription_identifier": [7, 8],
    }
    (received,) = sent(other)
    assert received.properties == {"content_type": "a", "message_expiry_interval": 60}
    assert received.retain
    assert shared.properties == {"content_type": "a"}


# ---- ingest ids


def test_a_dup_has_the_name_of_the_first_attempt_and_a_new_packet_never_has() -> None:
    one = session()
    first = one.inbound.ingest_id(1, dup=False, keep=10)
    assert one.inbound.ingest_id(1, dup=True, keep=10) == first
    again = one.inbound.ingest_id(1, dup=False, keep=10)
    assert again != first
    assert one.inbound.ingest_id(1, dup=True, keep=10) == again
    assert one.inbound.ingest_id(2, dup=True, keep=10) not in (first, again)


def test_the_name_survives_a_reconnect_and_is_unlike_that_of_any_other_session() -> None:
    one, other = session(), Session("c", "user1", uid="other")
    first = one.inbound.ingest_id(1, dup=False, keep=10)
    one.detach()
    one.attach(version=4, window=10, max_packet=0)
    assert one.inbound.ingest_id(1, dup=True, keep=10) == first
    assert other.inbound.ingest_id(1, dup=False, keep=10) != first


def test_only_so_many_names_are_kept() -> None:
    one = session()
    names = {number: one.inbound.ingest_id(number, dup=False, keep=5) for number in range(1, 20)}
    assert len(one.inbound._names) == 5
    assert all(one.inbound.ingest_id(number, dup=True, keep=5) == names[number] for number in range(15, 20))


# ---- all of it at random


class AnyClient(RuleBasedStateMachine):
    """A client that acknowledges in any order, goes and comes back: nothing is lost, nothing passes the window."""

    WINDOW, QUEUE = 3, 5

    def __init__(self) -> None:
        super().__init__()
        self.one = session(window=self.WINDOW, queue=self.QUEUE)
        self.number = 0
        self.accepted: list[bytes] = []
        self.under_way: deque[Publish] = deque()
        self.seen: list[bytes] = []

    def take(self) -> None:
        for packet in sent(self.one):
            if packet.payload not in self.seen:
                assert not packet.dup or packet.payload not in self.seen
                self.seen.append(packet.payload)
            if packet.packet_id not in {known.packet_id for known in self.under_way}:
                self.under_way.append(packet)

    @rule()
    def deliver(self) -> None:
        self.number += 1
        payload = str(self.number).encode()
        outcome = self.one.deliver(message(payload), 1, 0.0)
        if outcome is not Outcome.QUEUE_FULL:
            self.accepted.append(payload)
        else:
            assert len(self.one.queue) == self.QUEUE

    @precondition(lambda self: self.one.connected)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        self.take()
        if self.under_way:
            packet = data.draw(st.sampled_from(list(self.under_way)))
            self.under_way.remove(packet)
            outgoing = self.one.acknowledge(packet.packet_id, 0.0)
            assert outgoing is not None
            assert outgoing.message.payload == packet.payload

    @precondition(lambda self: self.one.connected)
    @rule()
    def go(self) -> None:
        self.take()
        self.one.detach()

    @precondition(lambda self: not self.one.connected)
    @rule()
    def come_back(self) -> None:
        self.one.attach(version=5, window=self.WINDOW, max_packet=0)
        self.one.resume(0.0)
        again = sent(self.one)
        assert [(p.packet_id, p.payload) for p in again if p.dup] == [(p.packet_id, p.payload) for p in self.under_way]
        for packet in again:
            if not packet.dup:
                self.seen.append(packet.payload)
                self.under_way.append(packet)

    @invariant()
    def bounded_and_in_order(self) -> None:
        assert len(self.one.inflight) <= self.WINDOW
        assert len(self.one.queue) <= self.QUEUE
        if self.one.connected:
            self.take()
            assert len(self.under_way) <= self.WINDOW
            assert not self.one.queue or len(self.one.inflight) == self.WINDOW
        assert self.seen == self.accepted[: len(self.seen)]


TestAnyClient = AnyClient.TestCase
TestAnyClient.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
