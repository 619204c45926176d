"""Reason codes (MQTT 5.0 §2.4) and the errors that carry them.

A reason code is the error: raising `ProtocolViolation` ends the connection and names the byte on the wire. MQTT 3.1.1
has no reason in its DISCONNECT and five CONNACK codes; `connack_v311` maps to those.
"""

from __future__ import annotations

from enum import IntEnum

from mqtt.packets import PacketType


class Reason(IntEnum):
    """Every reason code of MQTT 5.0 §2.4 that a server sends or receives."""

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


_ALWAYS = (Reason.SUCCESS,)
_PUBLISHED = (
    Reason.NO_MATCHING_SUBSCRIBERS,
    Reason.UNSPECIFIED_ERROR,
    Reason.IMPLEMENTATION_SPECIFIC_ERROR,
    Reason.NOT_AUTHORIZED,
    Reason.TOPIC_NAME_INVALID,
    Reason.PACKET_IDENTIFIER_IN_USE,
    Reason.QUOTA_EXCEEDED,
    Reason.PAYLOAD_FORMAT_INVALID,
)
_FILTERED = (
    Reason.UNSPECIFIED_ERROR,
    Reason.IMPLEMENTATION_SPECIFIC_ERROR,
    Reason.NOT_AUTHORIZED,
    Reason.TOPIC_FILTER_INVALID,
    Reason.PACKET_IDENTIFIER_IN_USE,
)
_OF_DISCONNECT = frozenset(range(0x80, 0xA3)) - {0x84, 0x85, 0x86, 0x88, 0x8A, 0x8C, 0x91, 0x92}
_OF_CONNACK = frozenset(range(0x80, 0xA0)) - {0x8B, *range(0x8D, 0x90), 0x91, 0x92, 0x93, 0x94, 0x96, 0x98, 0x9E}

REASONS: dict[int, frozenset[int]] = {
    PacketType.CONNACK: frozenset((*_ALWAYS, *_OF_CONNACK)),
    PacketType.PUBACK: frozenset((*_ALWAYS, *_PUBLISHED)),
    PacketType.PUBREC: frozenset((*_ALWAYS, *_PUBLISHED)),
    PacketType.PUBREL: frozenset((*_ALWAYS, Reason.PACKET_IDENTIFIER_NOT_FOUND)),
    PacketType.PUBCOMP: frozenset((*_ALWAYS, Reason.PACKET_IDENTIFIER_NOT_FOUND)),
    PacketType.SUBACK: frozenset(
        (
            *_ALWAYS,
            Reason.GRANTED_QOS_1,
            Reason.GRANTED_QOS_2,
            *_FILTERED,
            Reason.QUOTA_EXCEEDED,
            Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
            Reason.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            Reason.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
        )
    ),
    PacketType.UNSUBACK: frozenset((*_ALWAYS, Reason.NO_SUBSCRIPTION_EXISTED, *_FILTERED)),
    PacketType.DISCONNECT: frozenset((*_ALWAYS, Reason.DISCONNECT_WITH_WILL, *_OF_DISCONNECT)),
    PacketType.AUTH: frozenset((*_ALWAYS, Reason.CONTINUE_AUTHENTICATION, Reason.RE_AUTHENTICATE)),
}
"""Which reasons a packet of MQTT 5 may carry (§2.4 and the tables of each packet). Any other is a protocol error."""


class ProtocolViolation(Exception):
    """The peer broke the protocol: its connection ends with `reason`.

    Args:
        reason: what to tell an MQTT 5 peer.
        detail: one sentence for the log and the reason string; never holds payload bytes.

    Attributes:
        connecting: the protocol level of the CONNECT that is broken; 0 for any other packet.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.connecting = 0


def malformed(detail: str) -> ProtocolViolation:
    """A packet that can't be parsed according to the specification (MQTT 5.0 §4.13)."""
    return ProtocolViolation(Reason.MALFORMED_PACKET, detail)


def protocol_error(detail: str) -> ProtocolViolation:
    """A packet that parses, but isn't allowed here (MQTT 5.0 §4.13)."""
    return ProtocolViolation(Reason.PROTOCOL_ERROR, detail)


_CONNACK_V311 = {
    Reason.SUCCESS: 0,
    Reason.UNSUPPORTED_PROTOCOL_VERSION: 1,
    Reason.CLIENT_IDENTIFIER_NOT_VALID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.SERVER_BUSY: 3,
    Reason.QUOTA_EXCEEDED: 3,
    Reason.CONNECTION_RATE_EXCEEDED: 3,
    Reason.BAD_USER_NAME_OR_PASSWORD: 4,
    Reason.NOT_AUTHORIZED: 5,
    Reason.BANNED: 5,
}


def connack_v311(reason: Reason) -> int:
    """The CONNACK return code of MQTT 3.1.1 (§3.2.2.3) nearest to `reason`; 3 (server unavailable) for the rest."""
    return _CONNACK_V311.get(reason, 3)
