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
from mqtt.reasons import Reason, protocol_error

if TYPE_CHECKING:
    from broker.connection import Connection


def _ping(connection: Connection, _packet: PingReq) -> None:
    """PINGREQ. Its answer says that all before it were answered, as far as that is ours."""
    if connection.vouching or connection.unanswered:
        connection.answer_from_disk(PingResp())
    else:
        connection.answer(PingResp())


def _disconnect(connection: Connection, packet: Disconnect) -> None:
    """DISCONNECT: the client goes, and may say how long its session shall live and whether its will is due."""
    expiry = packet.properties.get("session_expiry_interval")
    if expiry is not None:
        if connection.session.expiry == 0 and expiry:  # [MQTT-3.14.2-2]
            raise protocol_error("a session that ends with its connection can't be prolonged at the end")
        connection.session.expiry = min(expiry, connection.core.limits.session_expiry_max)
    connection.end(publish_will=packet.reason != Reason.SUCCESS)  # [MQTT-3.14.4-3]


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
    PingReq: _ping,
    Disconnect: _disconnect,
    Connect: _connect_again,
    Auth: _authenticate_again,
    **dict.fromkeys((ConnAck, SubAck, UnsubAck, PingResp), _unexpected),
}
"""By packet type; what is handed back is awaited before the next packet of that client."""
