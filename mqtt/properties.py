"""Properties of MQTT 5.0 (§2.2.2): one table says which exist, of what type, and in which packets they may stand."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple, cast

from mqtt.packets import PacketType, Properties
from mqtt.reasons import malformed, protocol_error
from mqtt.wire import Reader, decode_string, encode_binary, encode_string, encode_varint

WILL = 0
"""Stands beside the packet types in the table: the properties of a will have a block of their own in CONNECT."""


class _Type(Enum):
    BYTE = "byte"
    BOOL = "bool"
    U16 = "u16"
    U32 = "u32"
    VARINT = "varint"
    STRING = "string"
    BINARY = "binary"
    PAIR = "pair"


class _Property(NamedTuple):
    name: str
    type: _Type
    packets: frozenset[int]
    repeats: bool = False
    nonzero: bool = False


_T = PacketType
_ACKS = (_T.PUBACK, _T.PUBREC, _T.PUBREL, _T.PUBCOMP, _T.SUBACK, _T.UNSUBACK)
_EVERYWHERE = (
    _T.CONNECT,
    _T.CONNACK,
    _T.PUBLISH,
    WILL,
    *_ACKS,
    _T.SUBSCRIBE,
    _T.UNSUBSCRIBE,
    _T.DISCONNECT,
    _T.AUTH,
)


def _row(name: str, kind: _Type, *packets: int, repeats: bool = False, nonzero: bool = False) -> _Property:
    return _Property(name, kind, frozenset(packets), repeats, nonzero)


_TABLE: dict[int, _Property] = {
    0x01: _row("payload_format_indicator", _Type.BOOL, _T.PUBLISH, WILL),
    0x02: _row("message_expiry_interval", _Type.U32, _T.PUBLISH, WILL),
    0x03: _row("content_type", _Type.STRING, _T.PUBLISH, WILL),
    0x08: _row("response_topic", _Type.STRING, _T.PUBLISH, WILL),
    0x09: _row("correlation_data", _Type.BINARY, _T.PUBLISH, WILL),
    0x0B: _row("subscription_identifier", _Type.VARINT, _T.PUBLISH, _T.SUBSCRIBE, repeats=True, nonzero=True),
    0x11: _row("session_expiry_interval", _Type.U32, _T.CONNECT, _T.CONNACK, _T.DISCONNECT),
    0x12: _row("assigned_client_identifier", _Type.STRING, _T.CONNACK),
    0x13: _row("server_keep_alive", _Type.U16, _T.CONNACK),
    0x15: _row("authentication_method", _Type.STRING, _T.CONNECT, _T.CONNACK, _T.AUTH),
    0x16: _row("authentication_data", _Type.BINARY, _T.CONNECT, _T.CONNACK, _T.AUTH),
    0x17: _row("request_problem_information", _Type.BOOL, _T.CONNECT),
    0x18: _row("will_delay_interval", _Type.U32, WILL),
    0x19: _row("request_response_information", _Type.BOOL, _T.CONNECT),
    0x1A: _row("response_information", _Type.STRING, _T.CONNACK),
    0x1C: _row("server_reference", _Type.STRING, _T.CONNACK, _T.DISCONNECT),
    0x1F: _row("reason_string", _Type.STRING, _T.CONNACK, *_ACKS, _T.DISCONNECT, _T.AUTH),
    0x21: _row("receive_maximum", _Type.U16, _T.CONNECT, _T.CONNACK, nonzero=True),
    0x22: _row("topic_alias_maximum", _Type.U16, _T.CONNECT, _T.CONNACK),
    0x23: _row("topic_alias", _Type.U16, _T.PUBLISH),
    0x24: _row("maximum_qos", _Type.BOOL, _T.CONNACK),
    0x25: _row("retain_available", _Type.BOOL, _T.CONNACK),
    0x26: _row("user_property", _Type.PAIR, *_EVERYWHERE, repeats=True),
    0x27: _row("maximum_packet_size", _Type.U32, _T.CONNECT, _T.CONNACK, nonzero=True),
    0x28: _row("wildcard_subscription_available", _Type.BOOL, _T.CONNACK),
    0x29: _row("subscription_identifier_available", _Type.BOOL, _T.CONNACK),
    0x2A: _row("shared_subscription_available", _Type.BOOL, _T.CONNACK),
}
_IDS = {row.name: (number, row) for number, row in _TABLE.items()}

_READ: dict[_Type, Callable[[Reader], Any]] = {
    _Type.BYTE: Reader.byte,
    _Type.BOOL: Reader.byte,
    _Type.U16: Reader.u16,
    _Type.U32: Reader.u32,
    _Type.VARINT: Reader.varint,
    _Type.STRING: Reader.string,
    _Type.BINARY: Reader.binary,
    _Type.PAIR: lambda reader: (reader.string(), reader.string()),
}
_WRITE: dict[_Type, Callable[[Any], bytes]] = {
    _Type.BYTE: lambda value: bytes((value,)),
    _Type.BOOL: lambda value: bytes((value,)),
    _Type.U16: lambda value: int(value).to_bytes(2, "big"),
    _Type.U32: lambda value: int(value).to_bytes(4, "big"),
    _Type.VARINT: encode_varint,
    _Type.STRING: encode_string,
    _Type.BINARY: encode_binary,
    _Type.PAIR: lambda pair: encode_string(pair[0]) + encode_string(pair[1]),
}


_PAIR = 0x26
_CACHED_NAME = 64
"""Names of user properties repeat, values do not. Longer ones are worked out each time, so that the caches stay below 1 MB."""

_read_name = lru_cache(maxsize=1_024)(decode_string)


@lru_cache(maxsize=1_024)
def _pair_head(name: str) -> bytes:
    """What stands before the value of a user property."""
    return bytes((_PAIR,)) + encode_string(name)


def read_properties(reader: Reader, packet: int) -> Properties:
    """The property block at the reader's place.

    Args:
        reader: stands before the block's length.
        packet: the packet type, or `WILL`.
    """
    length = reader.varint()
    if length > reader.left:
        raise malformed("the property length passes the end of the packet")
    stop = reader.pos + length
    if length and reader.data[reader.pos] == _PAIR:
        pairs = _pairs(reader.data, reader.pos, stop)
        if pairs is not None:
            reader.pos = stop
            return {"user_property": pairs}
    found: dict[str, Any] = {}
    block = Reader(reader.data, reader.pos, stop)
    while block.left:
        row = _TABLE.get(block.varint())
        if row is None or packet not in row.packets:
            raise malformed("a property that this packet can't have")
        value = _checked(row, _READ[row.type](block))
        if row.repeats:
            found.setdefault(row.name, []).append(value)
        elif row.name in found:
            raise protocol_error(f"{row.name} stands twice")
        else:
            found[row.name] = value
    reader.pos = stop
    return cast("Properties", found)


def _pairs(data: bytes, pos: int, stop: int) -> list[tuple[str, str]] | None:
    """A block of nothing but user properties, read in place: what our processes put on every message for each other. They may stand
    in every packet. None: there is something else in it, or something wrong, which the general way names.
    """
    pairs = []
    while pos < stop:
        name_at = pos + 3
        if name_at > stop or data[pos] != _PAIR:
            return None
        middle = name_at + (data[pos + 1] << 8 | data[pos + 2])
        value_at = middle + 2
        if value_at > stop:
            return None
        pos = value_at + (data[middle] << 8 | data[middle + 1])
        if pos > stop:
            return None
        raw = data[name_at:middle]
        name = _read_name(raw) if len(raw) <= _CACHED_NAME else decode_string(raw)
        pairs.append((name, decode_string(data[value_at:pos])))
    return pairs


def _checked(row: _Property, value: Any) -> Any:
    if row.type is _Type.BOOL and value > 1:
        raise protocol_error(f"{row.name} is 0 or 1")
    if row.nonzero and value == 0:
        raise protocol_error(f"{row.name} can't be 0")
    return value


def encode_properties(properties: Properties) -> bytes:
    """The property block with its length."""
    if not properties:
        return b"\0"
    if len(properties) == 1 and "user_property" in properties:
        block = b"".join([_encode_pair(name, value) for name, value in properties["user_property"]])
        return encode_varint(len(block)) + block
    out = bytearray()
    for name, value in properties.items():
        number, row = _IDS[name]
        for item in cast("list[Any]", value) if row.repeats else (value,):
            out.append(number)
            out += _WRITE[row.type](item)
    return encode_varint(len(out)) + bytes(out)


def _encode_pair(name: str, value: str) -> bytes:
    """One user property with its number."""
    head = _pair_head(name) if len(name) <= _CACHED_NAME else bytes((_PAIR,)) + encode_string(name)
    raw = value.encode()
    return head + len(raw).to_bytes(2, "big") + raw
