"""Who handles which packet of a client that was let in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from broker.publishing import acknowledged, acknowledged_all, completed, publish, received, released
from broker.subscribing import subscribe, unsubscribe
from mqtt.packets import (
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
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
)
from mqtt.reasons import protocol_error

if TYPE_CHECKING:
    from broker.connection import Connection


def _authenticate_again(_connection: Connection, _packet: Auth) -> None:
    """AUTH: only within an enhanced authentication, which is not offered [MQTT-4.12.0-7]."""
    raise protocol_error("no enhanced authentication is under way")


def _unexpected(_connection: Connection, packet: Packet) -> None:
    """A packet that only servers send."""
    raise protocol_error(f"{type(packet).__name__} is not for a server")


def _connect_again(_connection: Connection, _packet: Connect) -> None:
    """A second CONNECT [MQTT-3.1.0-2]."""
    raise protocol_error("a second CONNECT")


HANDLERS: dict[type, Callable[[Connection, Any], Awaitable[None] | None]] = {
    Publish: publish,
    PubAck: acknowledged,
    PubAcks: acknowledged_all,
    PubRec: received,
    PubRel: released,
    PubComp: completed,
    Subscribe: subscribe,
    Unsubscribe: unsubscribe,
    PingReq: lambda connection, packet: connection.ping(packet),
    Disconnect: lambda connection, packet: connection.disconnect(packet),
    Connect: _connect_again,
    Auth: _authenticate_again,
    **dict.fromkeys((ConnAck, SubAck, UnsubAck, PingResp), _unexpected),
}
"""By packet type; what is handed back is awaited before the next packet of that client."""
