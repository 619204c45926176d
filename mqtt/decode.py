"""Bytes of one whole packet to a packet, for both versions: 3.1.1 is 5.0 without properties and with fewer reasons.

Each reader gets the flags of the fixed header, the body and the protocol level (4 or 5), and refuses what the clause
beside it refuses.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable

from mqtt.packets import (
    NONE,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PacketType,
    PingReq,
    PingResp,
    Properties,
    PubAck,
    PubAcks,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from mqtt.properties import WILL, read_properties
from mqtt.reasons import REASONS, ProtocolViolation, Reason, malformed, protocol_error
from mqtt.wire import Reader, decode_string

V311 = 4
V5 = 5

_CONNACK_REASONS_V311 = (
    Reason.SUCCESS,
    Reason.UNSUPPORTED_PROTOCOL_VERSION,
    Reason.CLIENT_IDENTIFIER_NOT_VALID,
    Reason.SERVER_UNAVAILABLE,
    Reason.BAD_USER_NAME_OR_PASSWORD,
    Reason.NOT_AUTHORIZED,
)

# Plain numbers: an IntEnum compares three times as slowly, and these are compared for each packet.
_PUBLISH = int(PacketType.PUBLISH)
_PUBACK = PacketType.PUBACK << 4

CACHED_TOPIC = 256
"""Longer topics are worked out each time they come: what is remembered of topics stays below 10 MB."""

_topics: dict[bytes, str] = {}
_MAX_TOPICS = 16_384


def read_packet(first: int, data: bytes, start: int, end: int, version: int) -> Packet:
    """The packet between two offsets.

    Args:
        first: the first byte of the fixed header.
        data: holds the packet.
        start: where its variable header starts.
        end: one behind its last byte.
        version: protocol level of the connection; anything before CONNECT.

    Raises:
        ProtocolViolation: malformed, or not allowed.
    """
    kind = first >> 4
    if kind == _PUBLISH:
        return read_publish(first & 0x0F, data, start, end, version)
    if first == _PUBACK and end - start == 2 and (packet_id := data[start] << 8 | data[start + 1]):
        return PubAck(packet_id, 0, NONE)  # the other half of the hot path: a plain acknowledgement
    reader = _READERS.get(kind)
    if reader is None or (kind == PacketType.AUTH and version != V5):
        raise malformed(f"packet type {kind} is reserved")
    # [MQTT-2.1.3-1]: reserved flag bits have the one value of the table.
    if first & 0x0F != (2 if kind in _FLAGS_0010 else 0):
        raise malformed("reserved flag bits are set")
    return reader(Reader(data, start, end), version)


def read_pubacks(data: bytes) -> PubAcks | None:
    """The packets in `data` if they are nothing but whole PUBACKs of four bytes.

    A fan-out comes back as such runs: to look at a run as an array takes a tenth of what its packets take one by one.
    """
    count = len(data) // 4
    if data[::4].count(_PUBACK) < count or data[1::4].count(2) < count:
        return None
    packet_ids = array("H", data)[1::2]
    if sys.byteorder == "little":
        packet_ids.byteswap()
    if 0 in data[2::4] and 0 in packet_ids:  # the first is a quick look at the high bytes, which are rarely 0
        return None
    return PubAcks(packet_ids)


_FLAGS_0010 = frozenset({PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE})


def read_publish(flags: int, data: bytes, pos: int, end: int, version: int) -> Publish:
    """PUBLISH: the hot path, so the fields are read in place.

    Args: as of `read_packet`, and the low four bits of the first byte.

    Topics repeat, so that their text is looked up, not decoded again; the table is emptied when it is full.
    """
    topic_end = pos + 2 + (data[pos] << 8 | data[pos + 1]) if pos + 2 <= end else end + 1
    if topic_end > end:
        raise malformed("the packet ends inside the topic")
    raw = data[pos + 2 : topic_end]
    topic = _topics.get(raw)
    if topic is None:
        topic = _remember(raw)
    qos = flags >> 1 & 3
    packet_id = 0
    pos = topic_end
    if qos:
        if qos == 3:  # [MQTT-3.3.1-4]
            raise malformed("QoS 3 does not exist")
        if pos + 2 > end:
            raise malformed("the packet ends inside the packet id")
        packet_id = data[pos] << 8 | data[pos + 1]
        if not packet_id:  # [MQTT-2.2.1-3]
            raise protocol_error("packet id 0")
        pos += 2
    elif flags & 8:  # [MQTT-3.3.1-2]
        raise malformed("DUP is set on QoS 0")
    properties = NONE
    if version == V5:
        if pos < end and not data[pos]:
            pos += 1
        else:
            reader = Reader(data, pos, end)
            properties = read_properties(reader, PacketType.PUBLISH)
            pos = reader.pos
    return Publish(topic, data[pos:end], qos, flags & 1 == 1, flags & 8 == 8, packet_id, properties)


def _remember(raw: bytes) -> str:
    topic = decode_string(raw)
    if "+" in topic or "#" in topic:  # [MQTT-3.3.2-2]
        raise ProtocolViolation(Reason.TOPIC_NAME_INVALID, "a topic name holds a wildcard")
    if len(raw) <= CACHED_TOPIC:
        if len(_topics) >= _MAX_TOPICS:
            _topics.clear()
        _topics[raw] = topic
    return topic


def _properties(reader: Reader, packet: int, version: int) -> Properties:
    return read_properties(reader, packet) if version == V5 else NONE


def _packet_id(reader: Reader) -> int:
    packet_id = reader.u16()
    if not packet_id:  # [MQTT-2.2.1-3]
        raise protocol_error("packet id 0")
    return packet_id


def _reason(kind: PacketType, reason: int, version: int) -> int:
    """A reason that this packet may carry [MQTT-3.2.2-8, 3.4.2-1, 3.5.2-1, 3.14.2-1]; 3.1.1 has none, or its own."""
    if version == V5 and reason not in REASONS[kind]:
        raise protocol_error(f"reason 0x{reason:02x} is none of a {kind.name}")
    return reason


def _connect(reader: Reader, _version: int) -> Connect:
    name = reader.binary()
    if name != b"MQTT":  # [MQTT-3.1.2-1]; MQIsdp is 3.1, which is another protocol
        raise ProtocolViolation(Reason.UNSUPPORTED_PROTOCOL_VERSION, "the protocol name is not MQTT")
    version = reader.byte()
    if version not in (V311, V5):  # [MQTT-3.1.2-2]
        raise ProtocolViolation(Reason.UNSUPPORTED_PROTOCOL_VERSION, f"protocol level {version} is not spoken here")
    try:
        return _connect_in(reader, version)
    except ProtocolViolation as violation:
        violation.connecting = version
        raise


def _connect_in(reader: Reader, version: int) -> Connect:
    """What stands behind the protocol level."""
    flags = reader.byte()
    if flags & 1:  # [MQTT-3.1.2-3]
        raise malformed("the reserved CONNECT flag is set")
    keep_alive = reader.u16()
    properties = _properties(reader, PacketType.CONNECT, version)
    client_id = reader.string()
    will = _will(reader, flags, version)
    username = reader.string() if flags & 0x80 else None
    if version == V311 and flags & 0x40 and not flags & 0x80:  # 3.1.1 [MQTT-3.1.2-22]
        raise malformed("a password without a user name")
    password = reader.binary() if flags & 0x40 else None
    reader.finish()
    if "authentication_data" in properties and "authentication_method" not in properties:
        raise protocol_error("authentication data without a method")
    return Connect(client_id, version, bool(flags & 2), keep_alive, username, password, will, properties)


def _will(reader: Reader, flags: int, version: int) -> Will | None:
    qos = flags >> 3 & 3
    if not flags & 4:
        if flags & 0x38:  # [MQTT-3.1.2-11, -13, -15]
            raise malformed("will flags without a will")
        return None
    if qos == 3:  # [MQTT-3.1.2-12]
        raise malformed("the will has QoS 3")
    properties = _properties(reader, WILL, version)
    topic = reader.string()
    if not topic or "+" in topic or "#" in topic:
        raise ProtocolViolation(Reason.TOPIC_NAME_INVALID, "the will's topic is no topic name")
    return Will(topic, reader.binary(), qos, bool(flags & 0x20), properties)


def _connack(reader: Reader, version: int) -> ConnAck:
    flags = reader.byte()
    if flags > 1:  # [MQTT-3.2.2-1]
        raise malformed("reserved CONNACK flags are set")
    code = reader.byte()
    if version != V5:
        if code >= len(_CONNACK_REASONS_V311):
            raise malformed("an unknown CONNACK return code")
        code = _CONNACK_REASONS_V311[code]
    properties = _properties(reader, PacketType.CONNACK, version)
    reader.finish()
    return ConnAck(bool(flags), _reason(PacketType.CONNACK, code, version), properties)


def _ack(make: Callable[[int, int, Properties], Packet], kind: PacketType) -> Callable[[Reader, int], Packet]:
    def read(reader: Reader, version: int) -> Packet:
        packet_id = _packet_id(reader)
        reason = _reason(kind, reader.byte(), version) if version == V5 and reader.left else 0
        properties = _properties(reader, kind, version) if reader.left else NONE
        reader.finish()
        return make(packet_id, reason, properties)

    return read


def _subscribe(reader: Reader, version: int) -> Subscribe:
    packet_id = _packet_id(reader)
    properties = _properties(reader, PacketType.SUBSCRIBE, version)
    if len(properties.get("subscription_identifier", [])) > 1:
        raise protocol_error("more than one subscription identifier")
    filters = []
    while reader.left:
        filters.append(_filter(reader.string(), reader.byte(), version))
    if not filters:  # [MQTT-3.8.3-2]
        raise protocol_error("a SUBSCRIBE without filters")
    return Subscribe(packet_id, filters, properties)


def _filter(text: str, options: int, version: int) -> Filter:
    qos, handling = options & 3, options >> 4 & 3
    reserved = 0xC0 if version == V5 else 0xFC
    if qos == 3 or options & reserved:  # [MQTT-3.8.3-5]
        raise malformed("reserved subscription options are set")
    if handling == 3:
        raise protocol_error("retain handling 3")
    return Filter(text, qos, bool(options & 4), bool(options & 8), handling)


def _suback(reader: Reader, version: int) -> SubAck:
    packet_id = _packet_id(reader)
    properties = _properties(reader, PacketType.SUBACK, version)
    reasons = [_reason(PacketType.SUBACK, reason, version) for reason in reader.take(reader.left)]
    return SubAck(packet_id, reasons, properties)


def _unsubscribe(reader: Reader, version: int) -> Unsubscribe:
    packet_id = _packet_id(reader)
    properties = _properties(reader, PacketType.UNSUBSCRIBE, version)
    filters = []
    while reader.left:
        filters.append(reader.string())
    if not filters:  # [MQTT-3.10.3-2]
        raise protocol_error("an UNSUBSCRIBE without filters")
    return Unsubscribe(packet_id, filters, properties)


def _unsuback(reader: Reader, version: int) -> UnsubAck:
    packet_id = _packet_id(reader)
    properties = _properties(reader, PacketType.UNSUBACK, version)
    if version == V311:  # it has no payload (3.1.1 §3.11.3)
        reader.finish()
    reasons = [_reason(PacketType.UNSUBACK, reason, version) for reason in reader.take(reader.left)]
    return UnsubAck(packet_id, reasons, properties)


def _pingreq(reader: Reader, _version: int) -> PingReq:
    reader.finish()
    return PingReq()


def _pingresp(reader: Reader, _version: int) -> PingResp:
    reader.finish()
    return PingResp()


def _disconnect(reader: Reader, version: int) -> Disconnect:
    reason = _reason(PacketType.DISCONNECT, reader.byte(), version) if version == V5 and reader.left else 0
    properties = _properties(reader, PacketType.DISCONNECT, version) if reader.left else {}
    reader.finish()
    return Disconnect(reason, properties)


def _auth(reader: Reader, version: int) -> Auth:
    reason = _reason(PacketType.AUTH, reader.byte(), version) if reader.left else 0
    properties = _properties(reader, PacketType.AUTH, version) if reader.left else {}
    reader.finish()
    return Auth(reason, properties)


_READERS: dict[int, Callable[[Reader, int], Packet]] = {
    PacketType.CONNECT: _connect,
    PacketType.CONNACK: _connack,
    PacketType.PUBACK: _ack(PubAck, PacketType.PUBACK),
    PacketType.PUBREC: _ack(PubRec, PacketType.PUBREC),
    PacketType.PUBREL: _ack(PubRel, PacketType.PUBREL),
    PacketType.PUBCOMP: _ack(PubComp, PacketType.PUBCOMP),
    PacketType.SUBSCRIBE: _subscribe,
    PacketType.SUBACK: _suback,
    PacketType.UNSUBSCRIBE: _unsubscribe,
    PacketType.UNSUBACK: _unsuback,
    PacketType.PINGREQ: _pingreq,
    PacketType.PINGRESP: _pingresp,
    PacketType.DISCONNECT: _disconnect,
    PacketType.AUTH: _auth,
}
