"""Bytes to packets and back: the corpus, every split, noise, and a second implementation as an oracle."""

from __future__ import annotations

from array import array

import mqtt5
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqtt.codec import Decoder, encode
from mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    Properties,
    PubAck,
    PubAcks,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from mqtt.reasons import Reason, connack_v311
from tests.corpus import MALFORMED, VALID, Malformed, Valid, connect, text
from tests.corpus import packet as packet_bytes

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
LEVELS = st.text(st.characters(exclude_characters="\0+#", exclude_categories=("Cs",)), max_size=10)
TOPICS = st.lists(LEVELS, min_size=1, max_size=5).map("/".join).filter(bool)
PACKET_IDS = st.integers(1, 65_535)
PAIRS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=3)


def given_version(case: Valid | Malformed) -> int:
    """What a server knows of the protocol level before it reads this packet."""
    return 0 if isinstance(case, Valid) and isinstance(case.packet, Connect) else case.version


def properties(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[Properties]:
    return st.fixed_dictionaries({}, optional=fields)  # type: ignore[return-value]


PUBLISH_PROPERTIES = {
    "payload_format_indicator": st.integers(0, 1),
    "message_expiry_interval": st.integers(0, 0xFFFFFFFF),
    "content_type": WORDS,
    "response_topic": TOPICS,
    "correlation_data": st.binary(max_size=40),
    "user_property": PAIRS,
}
REASONED = {"reason_string": WORDS, "user_property": PAIRS}


@st.composite
def publishes(draw: st.DrawFn, version: int) -> Publish:
    qos = draw(st.integers(0, 2))
    return Publish(
        draw(TOPICS),
        draw(st.binary(max_size=300)),
        qos=qos,
        retain=draw(st.booleans()),
        dup=bool(qos) and draw(st.booleans()),
        packet_id=draw(PACKET_IDS) if qos else 0,
        properties=draw(properties(**PUBLISH_PROPERTIES)) if version == 5 else {},
    )


@st.composite
def wills(draw: st.DrawFn, version: int) -> Will:
    fields = {**PUBLISH_PROPERTIES, "will_delay_interval": st.integers(0, 0xFFFFFFFF)}
    return Will(
        draw(TOPICS),
        draw(st.binary(max_size=40)),
        draw(st.integers(0, 2)),
        draw(st.booleans()),
        draw(properties(**fields)) if version == 5 else {},
    )


@st.composite
def connects(draw: st.DrawFn, version: int) -> Connect:
    fields = {
        "session_expiry_interval": st.integers(0, 0xFFFFFFFF),
        "receive_maximum": st.integers(1, 65_535),
        "maximum_packet_size": st.integers(1, 0xFFFFFFFF),
        "topic_alias_maximum": st.integers(0, 65_535),
        "request_problem_information": st.integers(0, 1),
        "user_property": PAIRS,
    }
    username = draw(st.none() | WORDS)
    return Connect(
        draw(WORDS),
        version,
        draw(st.booleans()),
        draw(st.integers(0, 65_535)),
        username,
        draw(st.none() | st.binary(max_size=40)) if username is not None or version == 5 else None,
        draw(st.none() | wills(version)),
        draw(properties(**fields)) if version == 5 else {},
    )


@st.composite
def subscribes(draw: st.DrawFn, version: int) -> Subscribe:
    five = version == 5
    options = st.booleans() if five else st.just(False)
    handling = st.integers(0, 2) if five else st.just(0)
    filters = st.builds(Filter, WORDS, st.integers(0, 2), options, options, handling)
    fields = {"subscription_identifier": st.lists(st.integers(1, 268_435_455), min_size=1, max_size=1)}
    return Subscribe(
        draw(PACKET_IDS),
        draw(st.lists(filters, min_size=1, max_size=5)),
        draw(properties(**fields)) if five else {},
    )


def packets(version: int) -> st.SearchStrategy[Packet]:
    five = version == 5
    reasons = st.sampled_from([0, 0x10, 0x80, 0x87, 0x97, 0x99]) if five else st.just(0)
    reasoned = properties(**REASONED) if five else st.just({})
    return st.one_of(
        publishes(version),
        connects(version),
        subscribes(version),
        st.builds(PubAck, PACKET_IDS, reasons, reasoned),
        st.builds(SubAck, PACKET_IDS, st.lists(st.sampled_from([0, 1, 2, 0x80]), max_size=5), reasoned),
        st.builds(UnsubAck, PACKET_IDS, st.lists(st.just(0), max_size=5) if five else st.just([]), reasoned),
        st.builds(Unsubscribe, PACKET_IDS, st.lists(WORDS, min_size=1, max_size=5)),
        st.builds(Disconnect, st.sampled_from([0, 4, 0x80, 0x87, 0x9C]) if five else st.just(0), reasoned),
        st.builds(ConnAck, st.booleans(), st.sampled_from([0, 0x84, 0x85, 0x86, 0x87]), reasoned),
    )


# ---- the corpus


@pytest.mark.parametrize("case", VALID, ids=lambda case: f"{case.version}: {case.name}")
def test_valid_packets_are_read(case: Valid) -> None:
    decoder = Decoder(version=given_version(case))
    assert decoder.feed(case.wire) == [case.packet]
    assert decoder.failure is None
    assert decoder.pending == 0


@pytest.mark.parametrize(
    "case", [case for case in VALID if case.canonical], ids=lambda case: f"{case.version}: {case.name}"
)
def test_valid_packets_are_written(case: Valid) -> None:
    assert encode(case.packet, case.version) == case.wire


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: f"{case.version}: {case.name}")
def test_malformed_packets_are_refused_with_their_reason(case: Malformed) -> None:
    decoder = Decoder(version=case.version)
    assert decoder.feed(case.wire) == []
    assert decoder.failure is not None
    assert decoder.failure.reason is case.reason


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: f"{case.version}: {case.name}")
def test_malformed_packets_fail_the_same_way_byte_by_byte(case: Malformed) -> None:
    decoder = Decoder(version=case.version)
    for byte in case.wire:
        assert decoder.feed(bytes((byte,))) == []
    assert decoder.failure is not None
    assert decoder.failure.reason is case.reason


def test_what_stands_before_a_malformed_packet_is_given_and_nothing_behind_it() -> None:
    decoder = Decoder(version=4)
    packets = decoder.feed(b"\x40\x02\0\x01" + b"\0\0" + b"\x40\x02\0\x02")
    assert packets == [PubAck(1)]
    assert decoder.failure is not None
    assert decoder.feed(b"\x40\x02\0\x03") == []


# ---- framing


@pytest.mark.parametrize("version", [4, 5])
def test_a_stream_may_be_split_at_every_byte(version: int) -> None:
    cases = [case for case in VALID if case.version == version and not isinstance(case.packet, Connect)]
    cases = [case for case in cases if len(case.wire) < 1000]
    stream, wanted = b"".join(case.wire for case in cases), [case.packet for case in cases]
    for place in range(len(stream) + 1):
        decoder = Decoder(version=version)
        assert decoder.feed(stream[:place]) + decoder.feed(stream[place:]) == wanted
        assert decoder.failure is None


@pytest.mark.parametrize("version", [4, 5])
def test_a_stream_may_come_byte_by_byte(version: int) -> None:
    cases = [case for case in VALID if case.version == version and not isinstance(case.packet, Connect)]
    decoder = Decoder(version=version)
    read = [packet for case in cases for byte in case.wire for packet in decoder.feed(bytes((byte,)))]
    assert read == [case.packet for case in cases]


def test_what_stands_behind_the_connect_waits_and_is_read_in_its_version_within_the_limit_of_then() -> None:
    decoder = Decoder(max_packet=20)
    large = packet_bytes(0x30, text("a") + b"\0" + b"x" * 100)
    assert decoder.feed(connect("c") + large[:50]) == [Connect("c")]
    assert decoder.version == 5
    decoder.hold(large[50:] + b"\x30\x06\0\x01a\0hi")
    assert decoder.failure is None
    decoder.max_packet = 200
    assert decoder.feed(b"") == [Publish("a", b"x" * 100), Publish("a", b"hi")]
    assert decoder.feed(b"") == []
    assert decoder.pending == 0


def test_a_packet_of_the_largest_size_is_taken_and_a_larger_one_refused_from_its_header() -> None:
    largest = b"\x30\xe8\x07\0\x01a" + b"x" * 997  # remaining length 1000
    assert len(Decoder(version=4, max_packet=1000).feed(largest)) == 1
    decoder = Decoder(version=4, max_packet=1000)
    assert decoder.feed(b"\x30\xe9\x07") == []
    assert decoder.failure is not None
    assert decoder.failure.reason is Reason.PACKET_TOO_LARGE
    assert decoder.pending == 0


def test_a_small_limit_holds_for_short_lengths_too() -> None:
    decoder = Decoder(version=4, max_packet=10)
    decoder.feed(b"\x30\x0b")
    assert decoder.failure is not None
    assert decoder.failure.reason is Reason.PACKET_TOO_LARGE


# ---- properties


@pytest.mark.parametrize("version", [4, 5])
@given(data=st.data())
def test_what_is_written_is_read_as_the_same_packet(version: int, data: st.DataObject) -> None:
    packet = data.draw(packets(version))
    decoder = Decoder(version=0 if isinstance(packet, Connect) else version)
    assert decoder.feed(encode(packet, version)) == [packet]
    assert decoder.failure is None


@pytest.mark.parametrize("version", [0, 4, 5])
@given(chunks=st.lists(st.binary(max_size=60), max_size=4))
def test_noise_never_raises(version: int, chunks: list[bytes]) -> None:
    decoder = Decoder(version=version, max_packet=1000)
    for chunk in chunks:
        decoder.feed(chunk)
        assert decoder.pending <= 1000 + 5


@given(case=st.sampled_from(VALID), data=st.data())
@settings(max_examples=300)
def test_damaged_packets_never_raise(case: Valid, data: st.DataObject) -> None:
    wire = bytearray(case.wire[:200])
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    Decoder(version=given_version(case), max_packet=1000).feed(bytes(wire))


# ---- a second opinion: valid packets only (the oracle is not ours to harden)


@given(packet=publishes(5))
def test_publish_agrees_with_the_oracle(packet: Publish) -> None:
    wire = encode(packet, 5)
    theirs, size = mqtt5.read(bytearray(wire))
    assert size == len(wire)
    assert isinstance(theirs, mqtt5.PublishPacket)
    assert (theirs.topic, theirs.payload, theirs.qos, theirs.retain) == (
        packet.topic,
        packet.payload,
        packet.qos,
        packet.retain,
    )
    assert (theirs.packet_id or 0, theirs.duplicate) == (packet.packet_id, packet.dup)
    assert theirs.user_properties == packet.properties.get("user_property", [])
    assert theirs.message_expiry_interval == packet.properties.get("message_expiry_interval")
    assert theirs.content_type == packet.properties.get("content_type")
    assert theirs.correlation_data == packet.properties.get("correlation_data")
    assert Decoder(version=5).feed(bytes(theirs.write()))[0].payload == packet.payload  # type: ignore[union-attr]


@given(packet=connects(5))
def test_connect_agrees_with_the_oracle(packet: Connect) -> None:
    theirs, _ = mqtt5.read(bytearray(encode(packet, 5)))
    assert isinstance(theirs, mqtt5.ConnectPacket)
    assert (theirs.client_id, theirs.clean_start, theirs.keep_alive) == (
        packet.client_id,
        packet.clean_start,
        packet.keep_alive,
    )
    assert (theirs.username, theirs.password) == (packet.username, packet.password)
    assert theirs.session_expiry_interval == packet.properties.get("session_expiry_interval", 0)
    assert theirs.receive_max == packet.properties.get("receive_maximum", 65_535)
    assert (theirs.will is None) == (packet.will is None)
    if packet.will is not None and theirs.will is not None:
        assert (theirs.will.topic, theirs.will.payload or b"") == (packet.will.topic, packet.will.payload)


def test_packets_of_the_oracle_are_read() -> None:
    filters = [mqtt5.TopicFilter("안녕/#", max_qos=mqtt5.QoS.AT_LEAST_ONCE, no_local=True, retain_as_published=False)]
    wire = mqtt5.SubscribePacket(7, filters, subscription_id=300).write()
    assert Decoder(version=5).feed(bytes(wire)) == [
        Subscribe(7, [Filter("안녕/#", 1, no_local=True)], {"subscription_identifier": [300]})
    ]
    refusal = mqtt5.PubAckPacket(
        9, reason_code=mqtt5.PubAckReasonCode.QUOTA_EXCEEDED, reason_str="no", user_properties=[("code", "x")]
    )
    assert Decoder(version=5).feed(bytes(refusal.write())) == [
        PubAck(9, 0x97, {"reason_string": "no", "user_property": [("code", "x")]})
    ]


# ---- 3.1.1 is given less


def test_a_refusal_for_3_1_1_has_its_nearest_return_code() -> None:
    assert {reason: connack_v311(reason) for reason in Reason if connack_v311(reason) != 3} == {
        Reason.SUCCESS: 0,
        Reason.UNSUPPORTED_PROTOCOL_VERSION: 1,
        Reason.CLIENT_IDENTIFIER_NOT_VALID: 2,
        Reason.BAD_USER_NAME_OR_PASSWORD: 4,
        Reason.NOT_AUTHORIZED: 5,
        Reason.BANNED: 5,
    }


def test_3_1_1_is_sent_no_reasons() -> None:
    assert encode(PubAck(1, 0x99, {"reason_string": "no"}), 4) == b"\x40\x02\0\x01"
    assert encode(SubAck(1, [0, 1, 0x87, 0x8F]), 4) == b"\x90\x06\0\x01\x00\x01\x80\x80"
    assert encode(UnsubAck(1, [0, 0x11]), 4) == b"\xb0\x02\0\x01"
    assert encode(Disconnect(0x8E), 4) == b"\xe0\0"


PUBACKS = st.lists(st.integers(0, 0xFFFF).map(lambda packet_id: b"\x40\x02" + packet_id.to_bytes(2, "big")), max_size=8)
BESIDE = st.sampled_from(
    [b"", b"", b"\x40", b"\x40\x02\x00", b"\x40\x03\x00\x01\x10", b"\xd0\x00", b"\x42\x02\x00\x01"]
)


@given(before=BESIDE, acks=PUBACKS, behind=BESIDE, version=st.sampled_from([4, 5]))
def test_a_run_of_pubacks_is_the_same_packets(before: bytes, acks: list[bytes], behind: bytes, version: int) -> None:
    one, all_at_once = Decoder(version=version), Decoder(version=version)
    for chunk in (before, b"".join(acks) + behind, b"\xd0\x00"):
        expected = one.feed(chunk)
        found: list[Packet] = []
        for packet in all_at_once.feed_all(chunk):
            found += map(PubAck, packet.packet_ids) if isinstance(packet, PubAcks) else [packet]
        assert found == expected
        assert (all_at_once.failure and all_at_once.failure.reason) == (one.failure and one.failure.reason)
        assert all_at_once.pending == one.pending


def test_nothing_but_pubacks_is_one_run() -> None:
    assert Decoder(version=4).feed_all(b"\x40\x02\x00\x01\x40\x02\x12\x34") == (PubAcks(array("H", [1, 0x1234])),)


def test_a_puback_before_the_connect_is_refused() -> None:
    decoder = Decoder()
    assert decoder.feed_all(b"\x40\x02\x00\x01") == []
    assert decoder.failure is not None
