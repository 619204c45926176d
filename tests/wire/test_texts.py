"""UTF-8 Encoded Strings: every field that is one is well-formed, without U+0000 and surrogates, and not too long."""

from __future__ import annotations

import pytest

from mqtt.packets import Disconnect, Publish, SubAck
from tests.corpus import connect, packet, text
from tests.wire.conftest import CONNACK4, PING, PONG, Running, Start
from tests.wire.packets import QOS1, puback

BAD = {
    "cut off": b"\xec\x95",
    "not UTF-8": b"\xc3\x28",
    "overlong": b"\xc0\xaf",
    "a surrogate": b"\xed\xa0\x80",
    "a surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "U+0000": b"a\0b",
}


def raw(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


def pair(value: bytes) -> bytes:
    return b"\x26" + raw(value) + text("v")


def props(block: bytes) -> bytes:
    return bytes((len(block),)) + block


CONNECTS = {
    "client id": lambda bad: packet(0x10, text("MQTT") + b"\x05\x02\0\0\0" + raw(bad)),
    "user name": lambda bad: connect(flags=0x82, rest=raw(bad)),
    "will topic": lambda bad: connect(flags=6, rest=b"\0" + raw(bad) + text("")),
    "content type of the will": lambda bad: connect(flags=6, rest=props(b"\x03" + raw(bad)) + text("w") + text("")),
    "response topic of the will": lambda bad: connect(flags=6, rest=props(b"\x08" + raw(bad)) + text("w") + text("")),
    "user property": lambda bad: connect(block=pair(bad)),
    "value of a user property": lambda bad: connect(block=b"\x26" + text("k") + raw(bad)),
    "authentication method": lambda bad: connect(block=b"\x15" + raw(bad)),
}
"""[MQTT-3.1.3-4, -11, -12, 3.1.2-29]: by field, a CONNECT with it."""

LATER = {
    "topic name": lambda bad: packet(0x30, raw(bad) + b"\0"),
    "content type": lambda bad: packet(0x30, text("t") + props(b"\x03" + raw(bad))),
    "response topic": lambda bad: packet(0x30, text("t") + props(b"\x08" + raw(bad))),
    "user property": lambda bad: packet(0x30, text("t") + props(pair(bad))),
    "filter of a SUBSCRIBE": lambda bad: packet(0x82, b"\0\x01\0" + raw(bad) + b"\0"),
    "share name": lambda bad: packet(0x82, b"\0\x01\0" + raw(b"$share/" + bad + b"/a") + b"\0"),
    "filter of an UNSUBSCRIBE": lambda bad: packet(0xA2, b"\0\x01\0" + raw(bad)),
    "reason string of a PUBACK": lambda bad: packet(0x40, b"\0\x01\0" + props(b"\x1f" + raw(bad))),
    "reason string of a DISCONNECT": lambda bad: packet(0xE0, b"\0" + props(b"\x1f" + raw(bad))),
}
"""[MQTT-3.3.2-1, -13, -19, 3.8.3-1, 3.10.3-1]: by field, a packet with it."""


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("field", CONNECTS)
def test_a_connect_with_a_text_that_is_none(broker: Running, field: str, bad: bytes) -> None:
    """[MQTT-1.5.4-1, -2, 3.1.3-4, -11, -12]"""
    wire = broker.wire(version=5)
    wire.send(CONNECTS[field](bad))
    answer = wire.packet()
    assert (answer[0], answer[3]) == (0x20, 0x81)
    wire.ended()


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("field", LATER)
def test_a_packet_with_a_text_that_is_none(broker: Running, field: str, bad: bytes) -> None:
    """[MQTT-1.5.4-1, -2, 3.8.3-1, 3.10.3-1]"""
    wire = broker.v5()
    wire.send(PING, LATER[field](bad))
    wire.expect(PONG)
    answer = wire.read()
    assert isinstance(answer, Disconnect)
    assert answer.reason == 0x81
    wire.ended()


@pytest.mark.parametrize("field", ["user name", "will topic"])
def test_in_3_1_1_the_same_without_an_answer(broker: Running, field: str) -> None:
    """3.1.1 [MQTT-1.4.0-1, -2, 3.1.3-4, -10, -11]"""
    flags, behind = (0x82, b"") if field == "user name" else (6, text(""))
    for bad in BAD.values():
        wire = broker.wire()
        wire.send(connect(level=4, flags=flags, rest=raw(bad) + behind))
        wire.ended()


@pytest.mark.parametrize("version", [4, 5])
def test_the_longest_topic_is_65_535_bytes(start: Start, version: int) -> None:
    """[MQTT-4.7.3-3], 3.1.1 the same: two bytes of length can't say more, and none of it is lost or changed."""
    topic = "파" * 21_845
    assert len(topic.encode()) == 65_535
    block = b"\0" if version == 5 else b""
    with start(topic_length=65_535, max_packet=1_000_000) as broker:
        wire = broker.v4() if version == 4 else broker.v5()
        wire.send(packet(0x82, b"\0\x09" + block + text(topic) + b"\1"))
        wire.expect(packet(0x90, b"\0\x09" + block + b"\1"))
        wire.send(packet(0x32, text(topic) + b"\0\x01" + block + b"x"))
        answers = [wire.packet(), wire.packet()]
        assert sorted(answers) == sorted([puback(1), packet(0x32, text(topic) + b"\0\x01" + block + b"x")])


@pytest.mark.parametrize("word", ["파", "a"])
def test_topics_and_filters_longer_than_the_limit_are_refused(broker: Running, word: str) -> None:
    """The limit (1,024 characters) counts the name of a shared subscription too, as that is kept like the rest."""
    wire = broker.v5()
    filters = (word * 1025, f"$share/{word * 1025}/a", f"$share/g/{word * 1025}", word * 1024)
    wire.send(packet(0x82, b"\0\x09\0" + b"".join(text(each) + b"\0" for each in filters)))
    answer = wire.read()
    assert isinstance(answer, SubAck)
    assert answer.reasons == [0x8F, 0x8F, 0x8F, 0]
    wire.send(packet(0x30, text(word * 1024) + b"\0"))
    assert isinstance(wire.read(), Publish)
    wire.send(packet(0x30 | QOS1, text(word * 1025) + b"\0\x01\0"))
    answer = wire.read()
    assert isinstance(answer, Disconnect)
    assert answer.reason == 0x90


def test_a_user_name_from_which_no_client_id_can_be_made(start: Start) -> None:
    """[MQTT-3.1.3-8, 4.7.3-3]: ours would be longer than a string may be."""
    with start(max_connect_packet=200_000) as broker:
        wire = broker.wire(version=5)
        wire.send(connect("", flags=0x82, rest=text("u" * 65_535)))
        answer = wire.packet()
        assert answer[3] == 0x85
        wire.ended()
        four = broker.wire()
        four.send(connect("", level=4, flags=0x82, rest=text("u" * 65_000)))
        four.expect(CONNACK4)
