"""Packets about the connection itself: PINGREQ, DISCONNECT, AUTH, and those that no client may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mqtt.packets import Auth, Connect, Disconnect, Packet, PingReq, PingResp
from mqtt.reasons import Reason, malformed, protocol_error

if TYPE_CHECKING:
    from broker.connection import Connection


def ping(connection: Connection, _packet: PingReq) -> None:
    """PINGREQ."""
    connection.answer(PingResp())


def disconnect(connection: Connection, packet: Disconnect) -> None:
    """DISCONNECT: the client goes, and may say how long its session shall live and whether its will is due."""
    expiry = packet.properties.get("session_expiry_interval")
    if expiry is not None:
        if connection.session.expiry == 0 and expiry:  # [MQTT-3.14.2-2]
            raise protocol_error("a session that ends with its connection can't be prolonged at the end")
        connection.session.expiry = min(expiry, connection.core.limits.session_expiry_max)
    connection.end(publish_will=packet.reason != Reason.SUCCESS)  # [MQTT-3.14.4-3]


def authenticate_again(_connection: Connection, _packet: Auth) -> None:
    """AUTH: only within an enhanced authentication, which is not offered."""
    raise protocol_error("no enhanced authentication is under way")


def unexpected(_connection: Connection, packet: Packet) -> None:
    """A packet that only servers send."""
    raise malformed(f"{type(packet).__name__} is not for a server")


def connect_again(_connection: Connection, _packet: Connect) -> None:
    """A second CONNECT [MQTT-3.1.0-2]."""
    raise protocol_error("a second CONNECT")
