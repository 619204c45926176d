"""Packets to bytes, for both versions."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from mqtt.decode import CACHED_TOPIC, V5, V311
from mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    PingReq,
    PingResp,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)
from mqtt.properties import encode_properties
from mqtt.reasons import Reason, connack_v311
from mqtt.wire import PACKET_IDS, encode_binary, encode_string, encode_varint


def encode(packet: Packet, version: int) -> bytes:
    """The whole packet on the wire, for protocol level 4 or 5."""
    write: Callable[[Any, int], bytes] = _WRITERS[type(packet)]
    return write(packet, version)


def encode_within(packet: Packet, version: int, most: int) -> bytes:
    """The same, for somebody who takes packets of `most` bytes (0: any): what only explains gives way, where it would make
    the packet too large [MQTT-3.2.2-19, -20, 3.4.2-2, -3, 3.5.2-2, -3, 3.9.2-1, -2, 3.14.2-3]. Empty if it is too large
    all the same: then it is not sent [MQTT-3.1.2-24, -25].
    """
    data = encode(packet, version)
    if not 0 < most < len(data):
        return data
    properties: dict[str, Any] = getattr(packet, "properties", {})
    for name in _GIVES_WAY:
        if properties.pop(name, None) is not None:
            data = encode(packet, version)
            if len(data) <= most:
                return data
    return b""


def frame(kind: PacketType, body: bytes, flags: int = 0) -> bytes:
    """A fixed header before a body."""
    return bytes((kind << 4 | flags,)) + encode_varint(len(body)) + body


_GIVES_WAY = ("user_property", "reason_string", "server_reference")
"""What a packet means the same without; the last is what a client may do without, as it may know other servers."""

_PUBLISH_BYTE = tuple(bytes((PacketType.PUBLISH << 4 | flags,)) for flags in range(16))
_short_topic = lru_cache(maxsize=16_384)(encode_string)
"""Topics repeat: their bytes are looked up, not encoded again. Only short ones, so that the cache stays below 10 MB."""


def publish_parts(
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    version: int,
    properties: Properties | None = None,
    block: bytes = b"\0",
) -> tuple[bytes, bytes]:
    """A PUBLISH without its packet id: what stands before it and what stands behind it.

    A fan-out encodes this once and puts each receiver's packet id between the two. With QoS 0 there is no packet id, and
    the two parts joined are the packet. Whoever has the property block already gives it instead of `properties`.
    """
    name = _short_topic(topic) if len(topic) <= CACHED_TOPIC else encode_string(topic)
    tail = payload
    if version == V5:
        tail = encode_properties(properties) + payload if properties else block + payload
    length = len(name) + len(tail) + (2 if qos else 0)
    return _PUBLISH_BYTE[qos << 1 | retain] + encode_varint(length) + name, tail


def with_dup(head: bytes) -> bytes:
    """The first part of a PUBLISH with the DUP flag set [MQTT-3.3.1-1]."""
    return bytes((head[0] | 8,)) + head[1:]


def _publish(packet: Publish, version: int) -> bytes:
    head, tail = publish_parts(
        packet.topic,
        packet.payload,
        qos=packet.qos,
        retain=packet.retain,
        version=version,
        properties=packet.properties,
    )
    if packet.dup:
        head = with_dup(head)
    return head + PACKET_IDS[packet.packet_id] + tail if packet.qos else head + tail


def _block(properties: Properties, version: int) -> bytes:
    return encode_properties(properties) if version == V5 else b""


def _connect(packet: Connect, version: int) -> bytes:
    will = packet.will
    flags = packet.clean_start << 1
    payload = encode_string(packet.client_id)
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        payload += _block(will.properties, version) + encode_string(will.topic) + encode_binary(will.payload)
    if packet.username is not None:
        flags |= 0x80
        payload += encode_string(packet.username)
    if packet.password is not None:
        flags |= 0x40
        payload += encode_binary(packet.password)
    header = encode_string("MQTT") + bytes((version, flags)) + packet.keep_alive.to_bytes(2, "big")
    return frame(PacketType.CONNECT, header + _block(packet.properties, version) + payload)


def _connack(packet: ConnAck, version: int) -> bytes:
    code = connack_v311(Reason(packet.reason)) if version == V311 else packet.reason
    return frame(PacketType.CONNACK, bytes((packet.session_present, code)) + _block(packet.properties, version))


def _ack(kind: PacketType, flags: int = 0) -> Callable[[Any, int], bytes]:
    short = bytes((kind << 4 | flags, 2))

    def write(packet: Any, version: int) -> bytes:
        if version != V5 or not (packet.reason or packet.properties):
            return short + PACKET_IDS[int(packet.packet_id)]
        body = PACKET_IDS[packet.packet_id] + bytes((packet.reason,))
        return frame(kind, body + (encode_properties(packet.properties) if packet.properties else b""), flags)

    return write


def _subscribe(packet: Subscribe, version: int) -> bytes:
    body = PACKET_IDS[packet.packet_id] + _block(packet.properties, version)
    for item in packet.filters:
        options = item.qos | item.no_local << 2 | item.retain_as_published << 3 | item.retain_handling << 4
        body += encode_string(item.topic_filter) + bytes((options,))
    return frame(PacketType.SUBSCRIBE, body, 2)


def _suback(packet: SubAck, version: int) -> bytes:
    # 3.1.1 knows one failure, 0x80 [MQTT-3.9.3-2]
    reasons = packet.reasons if version == V5 else [min(reason, 0x80) for reason in packet.reasons]
    return frame(PacketType.SUBACK, PACKET_IDS[packet.packet_id] + _block(packet.properties, version) + bytes(reasons))


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    body = PACKET_IDS[packet.packet_id] + _block(packet.properties, version)
    return frame(PacketType.UNSUBSCRIBE, body + b"".join(encode_string(text) for text in packet.filters), 2)


def _unsuback(packet: UnsubAck, version: int) -> bytes:
    if version != V5:
        return frame(PacketType.UNSUBACK, PACKET_IDS[packet.packet_id])
    body = PACKET_IDS[packet.packet_id] + encode_properties(packet.properties) + bytes(packet.reasons)
    return frame(PacketType.UNSUBACK, body)


def _disconnect(packet: Disconnect, version: int) -> bytes:
    if version != V5 or not (packet.reason or packet.properties):
        return frame(PacketType.DISCONNECT, b"")
    return frame(PacketType.DISCONNECT, bytes((packet.reason,)) + encode_properties(packet.properties))


def _auth(packet: Auth, _version: int) -> bytes:
    return frame(PacketType.AUTH, bytes((packet.reason,)) + encode_properties(packet.properties))


_WRITERS: dict[type, Callable[[Any, int], bytes]] = {
    Connect: _connect,
    ConnAck: _connack,
    Publish: _publish,
    PubAck: _ack(PacketType.PUBACK),
    PubRec: _ack(PacketType.PUBREC),
    PubRel: _ack(PacketType.PUBREL, 2),
    PubComp: _ack(PacketType.PUBCOMP),
    Subscribe: _subscribe,
    SubAck: _suback,
    Unsubscribe: _unsubscribe,
    UnsubAck: _unsuback,
    PingReq: lambda _packet, _version: b"\xc0\0",
    PingResp: lambda _packet, _version: b"\xd0\0",
    Disconnect: _disconnect,
    Auth: _auth,
}
