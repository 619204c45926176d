"""User properties are read and written in place where nothing else is in the block: the same as the general way, byte for byte."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import example, given
from hypothesis import strategies as st

from mqtt import properties
from mqtt.packets import PacketType
from mqtt.properties import encode_properties, read_properties
from mqtt.reasons import ProtocolViolation
from mqtt.wire import Reader, encode_varint

TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=80)
BLOCKS = st.one_of(
    st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3).map(
        lambda pairs: encode_properties({"user_property": pairs})[1:]
    ),
    st.binary(max_size=20).map(lambda rest: b"\x26" + rest),
)


def read(block: bytes) -> object:
    data = encode_varint(len(block)) + block + b"payload"
    reader = Reader(data, 0, len(data) - 7)
    try:
        return read_properties(reader, PacketType.PUBLISH), reader.pos
    except ProtocolViolation as violation:
        return violation.reason


@given(BLOCKS, st.integers(0, 8), st.binary(max_size=2))
@example(b"\x26\0\1a\0\1b", 0, b"\x01\x01")
@example(b"\x26\0\1\0\0\1b", 0, b"")
@example(b"\x26\0\1a\0\1\xff", 0, b"")
def test_reading(block: bytes, cut: int, more: bytes) -> None:
    block = block[: len(block) - cut] + more
    fast = read(block)
    with patch.object(properties, "_pairs", lambda *_: None):
        assert read(block) == fast


def content(block: bytes) -> bytes:
    reader = Reader(block, 0, len(block))
    reader.varint()
    return reader.take(reader.left)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3))
def test_writing(pairs: list[tuple[str, str]]) -> None:
    fast = content(encode_properties({"user_property": pairs}))
    assert content(encode_properties({"content_type": "x", "user_property": pairs})) == b"\x03\0\1x" + fast
    assert read(fast) == ({"user_property": pairs}, len(encode_varint(len(fast))) + len(fast))
