"""Packets as bytes, shared by the tests of the codec (`tests/unit/mqtt`) and of the running broker (`tests/wire`).

`VALID` says what each packet means, `MALFORMED` what is wrong with it and which reason the peer is given. Bytes are written by
hand from the tables of MQTT 3.1.1 and 5.0, so that an encoder and a decoder that are wrong in the same way are found out.
"""

from __future__ import annotations

from typing import NamedTuple

from mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    PubAck,
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
from mqtt.reasons import Reason

KOREAN = "안녕하세요"
KOREAN_NFD = "\u110b\u1161\u11ab\u1102\u1167\u11bc"  # 안녕, decomposed


class Valid(NamedTuple):
    """A packet on the wire, and what it means. `canonical`: our encoder writes these very bytes."""

    name: str
    version: int
    wire: bytes
    packet: Packet
    canonical: bool = True


class Malformed(NamedTuple):
    """A packet that is refused. `version` is the connection's protocol level; 0 for what comes first on it."""

    name: str
    version: int
    wire: bytes
    reason: Reason


def text(value: str) -> bytes:
    """A UTF-8 Encoded String."""
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes) -> bytes:
    """A fixed header, with a Remaining Length of its own making, before a body."""
    length, out = len(body), bytearray((first,))
    while True:
        length, low = divmod(length, 128)
        out.append(low | (0x80 if length else 0))
        if not length:
            return bytes(out) + body


def connect(
    client_id: str = "c", *, level: int = 5, flags: int = 2, keep_alive: int = 0, rest: bytes = b"", block: bytes = b""
) -> bytes:
    """A CONNECT: `block` is its properties without their length, `rest` what stands behind the client id."""
    properties = bytes((len(block),)) + block if level == 5 else b""
    return packet(
        0x10, text("MQTT") + bytes((level, flags)) + keep_alive.to_bytes(2, "big") + properties + text(client_id) + rest
    )


VALID = (
    # ---- CONNECT and CONNACK
    Valid("connect 3.1.1", 4, connect("c", level=4), Connect("c", version=4)),
    Valid("connect 5", 5, connect("c"), Connect("c")),
    Valid("connect 5, empty client id", 5, connect(""), Connect("")),
    Valid("connect, session kept", 4, connect("c", level=4, flags=0), Connect("c", version=4, clean_start=False)),
    Valid("connect, Korean client id", 5, connect(KOREAN), Connect(KOREAN)),
    Valid("connect, keep alive", 5, connect(keep_alive=0x0102), Connect("c", keep_alive=0x0102)),
    Valid(
        "connect, user name and password",
        4,
        connect(level=4, flags=0xC2, rest=text("user1") + text("secret")),
        Connect("c", version=4, username="user1", password=b"secret"),
    ),
    Valid("connect 5, password alone", 5, connect(flags=0x42, rest=text("secret")), Connect("c", password=b"secret")),
    Valid(
        "connect 3.1.1, will",
        4,
        connect(level=4, flags=0x2E, rest=text("a/w") + text("gone")),
        Connect("c", version=4, will=Will("a/w", b"gone", qos=1, retain=True)),
    ),
    Valid(
        "connect 5, will with properties",
        5,
        connect(flags=0x0E, rest=b"\x0a\x18\0\0\0\x05\x01\x01\x03\0\0" + text("w") + text("")),
        Connect(
            "c",
            will=Will(
                "w",
                b"",
                qos=1,
                properties={"will_delay_interval": 5, "payload_format_indicator": 1, "content_type": ""},
            ),
        ),
    ),
    Valid(
        "connect 5, properties",
        5,
        connect(block=b"\x11\0\0\x0e\x10\x21\0\x14\x27\0\0\x10\0\x17\0\x26" + text("k") + text("v")),
        Connect(
            "c",
            properties={
                "session_expiry_interval": 3600,
                "receive_maximum": 20,
                "maximum_packet_size": 4096,
                "request_problem_information": 0,
                "user_property": [("k", "v")],
            },
        ),
    ),
    Valid("connack 3.1.1", 4, b"\x20\x02\0\0", ConnAck(False, 0)),
    Valid("connack 3.1.1, session present", 4, b"\x20\x02\x01\0", ConnAck(True, 0)),
    Valid("connack 3.1.1, refused", 4, b"\x20\x02\0\x05", ConnAck(False, Reason.NOT_AUTHORIZED)),
    Valid("connack 5", 5, b"\x20\x03\x01\0\0", ConnAck(True, 0)),
    Valid(
        "connack 5, properties",
        5,
        b"\x20\x0d\0\x86\x0a\x24\x01\x13\0\x3c\x1f\0\x02no",
        ConnAck(False, 0x86, {"maximum_qos": 1, "server_keep_alive": 60, "reason_string": "no"}),
    ),
    # ---- PUBLISH
    Valid("publish QoS 0, 3.1.1", 4, b"\x30\x07\0\x03a/bhi", Publish("a/b", b"hi")),
    Valid("publish QoS 0, no payload", 4, b"\x30\x03\0\x01a", Publish("a", b"")),
    Valid("publish QoS 1, 3.1.1", 4, b"\x32\x07\0\x01a\0\x0ahi", Publish("a", b"hi", qos=1, packet_id=10)),
    Valid(
        "publish QoS 1 with DUP and RETAIN",
        4,
        b"\x3b\x07\0\x01a\xff\xffhi",
        Publish("a", b"hi", qos=1, retain=True, dup=True, packet_id=65535),
    ),
    Valid("publish QoS 2", 4, b"\x34\x05\0\x01a\0\x01", Publish("a", b"", qos=2, packet_id=1)),
    Valid("publish 5, no properties", 5, b"\x30\x06\0\x01a\0hi", Publish("a", b"hi")),
    Valid("publish, Korean", 5, packet(0x30, text(KOREAN) + b"\0" + KOREAN.encode()), Publish(KOREAN, KOREAN.encode())),
    Valid("publish, Korean decomposed", 4, packet(0x30, text(KOREAN_NFD)), Publish(KOREAN_NFD, b"")),
    Valid("publish, emoji", 4, packet(0x30, text("🧧/👩‍👩‍👧")), Publish("🧧/👩‍👩‍👧", b"")),
    Valid("publish, byte order mark stays", 4, packet(0x30, text("\ufeffa")), Publish("\ufeffa", b"")),
    Valid(
        "publish, payload of any bytes", 4, packet(0x30, text("a") + bytes(range(256))), Publish("a", bytes(range(256)))
    ),
    Valid("publish, 128 bytes", 4, packet(0x30, text("a") + b"x" * 125), Publish("a", b"x" * 125)),
    Valid("publish, 20,000 bytes", 4, packet(0x30, text("a") + b"x" * 20_000), Publish("a", b"x" * 20_000)),
    Valid(
        "publish 5, properties",
        5,
        packet(
            0x32,
            text("a")
            + b"\0\x01"
            + b"\x25\x01\x01\x02\0\0\0\x3c\x03\0\x04text\x08\0\x01r\x09\0\x02\0\xff\x26\0\x01k\0\x01v\x26\0\x01k\0\x01w"
            + b"p",
        ),
        Publish(
            "a",
            b"p",
            qos=1,
            packet_id=1,
            properties={
                "payload_format_indicator": 1,
                "message_expiry_interval": 60,
                "content_type": "text",
                "response_topic": "r",
                "correlation_data": b"\0\xff",
                "user_property": [("k", "v"), ("k", "w")],
            },
        ),
    ),
    Valid(
        "publish 5, subscription identifiers",
        5,
        b"\x30\x09\0\x01a\x05\x0b\x01\x0b\x80\x01",
        Publish("a", b"", properties={"subscription_identifier": [1, 128]}),
    ),
    Valid("publish 5, alias alone", 5, b"\x30\x06\0\0\x03\x23\0\x01", Publish("", b"", properties={"topic_alias": 1})),
    # ---- acknowledgements
    Valid("puback 3.1.1", 4, b"\x40\x02\0\x01", PubAck(1)),
    Valid("puback 5, short", 5, b"\x40\x02\x12\x34", PubAck(0x1234)),
    Valid("puback 5, reason, no properties", 5, b"\x40\x03\0\x01\x10", PubAck(1, 0x10)),
    Valid("puback 5, reason, empty properties", 5, b"\x40\x04\0\x01\x87\0", PubAck(1, 0x87), canonical=False),
    Valid(
        "puback 5, code and reason",
        5,
        packet(0x40, b"\0\x01\x99\x11\x1f\0\x03bad\x26\0\x04code\0\x02nj"),
        PubAck(1, 0x99, {"reason_string": "bad", "user_property": [("code", "nj")]}),
    ),
    Valid("pubrec", 4, b"\x50\x02\0\x01", PubRec(1)),
    Valid("pubrel", 4, b"\x62\x02\0\x01", PubRel(1)),
    Valid("pubrel 5, not found", 5, b"\x62\x03\0\x01\x92", PubRel(1, 0x92)),
    Valid("pubcomp", 5, b"\x70\x02\0\x01", PubComp(1)),
    # ---- SUBSCRIBE and UNSUBSCRIBE
    Valid("subscribe 3.1.1", 4, b"\x82\x08\0\x01\0\x03a/#\x01", Subscribe(1, [Filter("a/#", 1)])),
    Valid(
        "subscribe 3.1.1, two filters",
        4,
        b"\x82\x0a\0\x01\0\x01a\0\0\x01b\x02",
        Subscribe(1, [Filter("a"), Filter("b", 2)]),
    ),
    Valid(
        "subscribe 5, all options",
        5,
        b"\x82\x0a\0\x01\x03\x0b\x80\x01\0\x01a\x2d",
        Subscribe(1, [Filter("a", 1, True, True, 2)], {"subscription_identifier": [128]}),
    ),
    Valid("suback 3.1.1", 4, b"\x90\x04\0\x01\x01\x80", SubAck(1, [1, 0x80])),
    Valid("suback 5", 5, b"\x90\x05\0\x01\0\x01\x87", SubAck(1, [1, 0x87])),
    Valid("unsubscribe 3.1.1", 4, b"\xa2\x05\0\x01\0\x01a", Unsubscribe(1, ["a"])),
    Valid("unsubscribe 5", 5, b"\xa2\x0a\0\x01\0\0\x01a\0\x02bc", Unsubscribe(1, ["a", "bc"])),
    Valid("unsuback 3.1.1", 4, b"\xb0\x02\0\x01", UnsubAck(1, [])),
    Valid("unsuback 5", 5, b"\xb0\x05\0\x01\0\0\x11", UnsubAck(1, [0, 0x11])),
    # ---- the rest
    Valid("pingreq", 4, b"\xc0\0", PingReq()),
    Valid("pingresp", 5, b"\xd0\0", PingResp()),
    Valid("disconnect 3.1.1", 4, b"\xe0\0", Disconnect()),
    Valid("disconnect 5", 5, b"\xe0\0", Disconnect()),
    Valid("disconnect 5 with will, no properties", 5, b"\xe0\x01\x04", Disconnect(4), canonical=False),
    Valid(
        "disconnect 5, expiry",
        5,
        b"\xe0\x07\0\x05\x11\0\0\0\x3c",
        Disconnect(0, {"session_expiry_interval": 60}),
    ),
    Valid(
        "auth",
        5,
        b"\xf0\x09\x18\x07\x15\0\x01m\x16\0\0",
        Auth(0x18, {"authentication_method": "m", "authentication_data": b""}),
    ),
)

_MALFORMED, _PROTOCOL = Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR

FIRST = (
    # ---- what may not come first on a connection
    Malformed("publish before connect", 0, b"\x30\x04\0\x01ax", _PROTOCOL),
    Malformed("pingreq before connect", 0, b"\xc0\0", _PROTOCOL),
    Malformed("an HTTP request", 0, b"GET / HTTP/1.1\r\n\r\n" + b" " * 80, Reason.MALFORMED_PACKET),
    Malformed("a TLS hello", 0, b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", Reason.MALFORMED_PACKET),
    Malformed(
        "protocol name MQIsdp (3.1)",
        0,
        packet(0x10, text("MQIsdp") + b"\x03\x02\0\0\0\x01c"),
        Reason.UNSUPPORTED_PROTOCOL_VERSION,
    ),
    Malformed(
        "protocol name in lower case",
        0,
        packet(0x10, text("mqtt") + b"\x04\x02\0\0\0\x01c"),
        Reason.UNSUPPORTED_PROTOCOL_VERSION,
    ),
    Malformed(
        "protocol level 3", 0, packet(0x10, text("MQTT") + b"\x03\x02\0\0\0\x01c"), Reason.UNSUPPORTED_PROTOCOL_VERSION
    ),
    Malformed(
        "protocol level 6",
        0,
        packet(0x10, text("MQTT") + b"\x06\x02\0\0\0\0\x01c"),
        Reason.UNSUPPORTED_PROTOCOL_VERSION,
    ),
    Malformed("reserved connect flag", 0, connect(level=4, flags=3), _MALFORMED),
    Malformed("fixed header flags on connect", 0, b"\x11" + connect(level=4)[1:], _MALFORMED),
    Malformed("will QoS without a will", 0, connect(level=4, flags=0x0A), _MALFORMED),
    Malformed("will retain without a will", 0, connect(level=5, flags=0x22), _MALFORMED),
    Malformed("will QoS 3", 0, connect(level=4, flags=0x1E, rest=text("w") + text("")), _MALFORMED),
    Malformed(
        "will topic with a wildcard",
        0,
        connect(level=4, flags=6, rest=text("w/#") + text("")),
        Reason.TOPIC_NAME_INVALID,
    ),
    Malformed("empty will topic", 0, connect(level=4, flags=6, rest=text("") + text("")), Reason.TOPIC_NAME_INVALID),
    Malformed("password without user name, 3.1.1", 0, connect(level=4, flags=0x42, rest=text("p")), _MALFORMED),
    Malformed("user name is missing", 0, connect(level=4, flags=0x82), _MALFORMED),
    Malformed("bytes behind connect", 0, connect(level=4, rest=b"x"), _MALFORMED),
    Malformed("client id with NUL", 0, connect("a\0b", level=4), _MALFORMED),
    Malformed("client id is not UTF-8", 0, packet(0x10, text("MQTT") + b"\x04\x02\0\0\0\x02\xc3\x28"), _MALFORMED),
    Malformed(
        "client id with a surrogate", 0, packet(0x10, text("MQTT") + b"\x04\x02\0\0\0\x03\xed\xa0\x80"), _MALFORMED
    ),
    Malformed("will topic is missing", 0, connect(level=4, flags=6), _MALFORMED),
    Malformed("will message is missing", 0, connect(level=4, flags=6, rest=text("w")), _MALFORMED),
    Malformed("user name without its flag", 0, connect(level=4, rest=text("user1")), _MALFORMED),
    Malformed("password without its flag", 0, connect(level=4, flags=0x82, rest=text("u") + text("pw")), _MALFORMED),
    Malformed("auth before connect", 0, b"\xf0\0", _MALFORMED),
    Malformed("receive maximum 0", 0, connect(block=b"\x21\0\0"), _PROTOCOL),
    Malformed("maximum packet size 0", 0, connect(block=b"\x27\0\0\0\0"), _PROTOCOL),
    Malformed("session expiry twice", 0, connect(block=b"\x11\0\0\0\x01\x11\0\0\0\x01"), _PROTOCOL),
    Malformed("request problem information 2", 0, connect(block=b"\x17\x02"), _PROTOCOL),
    Malformed("authentication data without method", 0, connect(block=b"\x16\0\x01x"), _PROTOCOL),
    Malformed("a publish property in connect", 0, connect(block=b"\x23\0\x01"), _MALFORMED),
    Malformed("unknown property", 0, connect(block=b"\x7f\0"), _MALFORMED),
    Malformed("property longer than its block", 0, connect(block=b"\x11\0\0"), _MALFORMED),
    Malformed("a will delay outside the will", 0, connect(block=b"\x18\0\0\0\x01"), _MALFORMED),
    Malformed("remaining length of five bytes", 0, b"\x10\xff\xff\xff\xff\x01", _MALFORMED),
    Malformed("remaining length not in its shortest form", 0, b"\x10\x80\x00", _MALFORMED),
)

LATER = (
    # ---- on a connection that is open
    Malformed("packet type 0", 4, b"\0\0", _MALFORMED),
    Malformed("packet type 15, 3.1.1", 4, b"\xf0\0", _MALFORMED),
    Malformed("remaining length of five bytes, later", 4, b"\x30\xff\xff\xff\xff\x01", _MALFORMED),
    Malformed("publish QoS 3", 4, b"\x36\x05\0\x01a\0\x01", _MALFORMED),
    Malformed("publish with DUP and QoS 0", 4, b"\x38\x03\0\x01a", _MALFORMED),
    Malformed("publish with packet id 0", 4, b"\x32\x05\0\x01a\0\0", _PROTOCOL),
    Malformed("publish ends inside the topic", 4, b"\x30\x03\0\x05a", _MALFORMED),
    Malformed("publish without a topic", 4, b"\x30\x01\0", _MALFORMED),
    Malformed("publish of nothing", 4, b"\x30\0", _MALFORMED),
    Malformed("publish ends inside the packet id", 4, b"\x32\x04\0\x01a\0", _MALFORMED),
    Malformed("publish to +", 4, b"\x30\x05\0\x03a/+", Reason.TOPIC_NAME_INVALID),
    Malformed("publish to #", 5, b"\x30\x04\0\x01#\0", Reason.TOPIC_NAME_INVALID),
    Malformed("topic with NUL", 4, b"\x30\x05\0\x03a\0b", _MALFORMED),
    Malformed("topic is not UTF-8", 4, b"\x30\x04\0\x02\xff\xfe", _MALFORMED),
    Malformed("topic in overlong UTF-8", 4, b"\x30\x04\0\x02\xc0\xaf", _MALFORMED),
    Malformed("topic with a surrogate", 4, b"\x30\x05\0\x03\xed\xbf\xbf", _MALFORMED),
    Malformed("publish 5 without properties", 5, b"\x30\x03\0\x01a", _MALFORMED),
    Malformed("publish 5, properties pass the end", 5, b"\x30\x05\0\x01a\x05\x01", _MALFORMED),
    Malformed("publish 5, payload format 2", 5, b"\x30\x06\0\x01a\x02\x01\x02", _PROTOCOL),
    Malformed("publish 5, content type twice", 5, b"\x30\x0a\0\x01a\x06\x03\0\0\x03\0\0", _PROTOCOL),
    Malformed("publish 5, subscription identifier 0", 5, b"\x30\x06\0\x01a\x02\x0b\0", _PROTOCOL),
    Malformed("publish 5, property length not shortest", 5, b"\x30\x05\0\x01a\x80\0", _MALFORMED),
    Malformed("puback of one byte", 4, b"\x40\x01\0", _MALFORMED),
    Malformed("puback 3.1.1 with a reason", 4, b"\x40\x03\0\x01\0", _MALFORMED),
    Malformed("puback with packet id 0", 4, b"\x40\x02\0\0", _PROTOCOL),
    Malformed("puback with flags", 4, b"\x41\x02\0\x01", _MALFORMED),
    Malformed("pubrel without its flag", 4, b"\x60\x02\0\x01", _MALFORMED),
    Malformed("subscribe without its flag", 4, b"\x80\x06\0\x01\0\x01a\0", _MALFORMED),
    Malformed("subscribe without filters", 4, b"\x82\x02\0\x01", _PROTOCOL),
    Malformed("subscribe with packet id 0", 4, b"\x82\x06\0\0\0\x01a\0", _PROTOCOL),
    Malformed("subscribe QoS 3", 4, b"\x82\x06\0\x01\0\x01a\x03", _MALFORMED),
    Malformed("subscribe 3.1.1 with options of 5", 4, b"\x82\x06\0\x01\0\x01a\x04", _MALFORMED),
    Malformed("subscribe 5, reserved options", 5, b"\x82\x07\0\x01\0\0\x01a\x40", _MALFORMED),
    Malformed("subscribe 5, retain handling 3", 5, b"\x82\x07\0\x01\0\0\x01a\x30", _PROTOCOL),
    Malformed("subscribe 5, identifier 0", 5, b"\x82\x09\0\x01\x02\x0b\0\0\x01a\0", _PROTOCOL),
    Malformed("subscribe 5, two identifiers", 5, b"\x82\x0b\0\x01\x04\x0b\x01\x0b\x02\0\x01a\0", _PROTOCOL),
    Malformed("subscribe without options", 4, b"\x82\x05\0\x01\0\x01a", _MALFORMED),
    Malformed("unsubscribe without filters", 5, b"\xa2\x03\0\x01\0", _PROTOCOL),
    Malformed("unsubscribe with flags of its own", 4, b"\xa0\x05\0\x01\0\x01a", _MALFORMED),
    Malformed("pingreq with a body", 4, b"\xc0\x01\0", _MALFORMED),
    Malformed("disconnect 3.1.1 with a reason", 4, b"\xe0\x01\0", _MALFORMED),
    Malformed("disconnect 5, two expiries", 5, b"\xe0\x0c\0\x0a\x11\0\0\0\x01\x11\0\0\0\x01", _PROTOCOL),
    Malformed("disconnect with flags", 4, b"\xe1\0", _MALFORMED),
    Malformed("disconnect 5, a reason of a CONNACK", 5, b"\xe0\x01\x86", _PROTOCOL),
    Malformed("auth 5 with flags 1", 5, b"\xf1\0", _MALFORMED),
    Malformed("auth 5 with flags 2", 5, b"\xf2\0", _MALFORMED),
    Malformed("auth 5 with flags 8", 5, b"\xf8\0", _MALFORMED),
    Malformed("auth 5, a reason of a DISCONNECT", 5, b"\xf0\x02\x80\0", _PROTOCOL),
    Malformed("puback 5, a reason of a SUBACK", 5, b"\x40\x03\0\x01\x01", _PROTOCOL),
    Malformed("pubrec 5, an unknown reason", 5, b"\x50\x03\0\x01\xff", _PROTOCOL),
    Malformed("pubrel 5, a reason of a PUBREC", 5, b"\x62\x03\0\x01\x10", _PROTOCOL),
    Malformed("pubcomp 5, a reason of a PUBACK", 5, b"\x70\x03\0\x01\x80", _PROTOCOL),
    Malformed("a connack with flags of its own", 4, b"\x20\x02\x02\0", _MALFORMED),
)

MALFORMED = FIRST + LATER
