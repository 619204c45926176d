"""How sessions and subscriptions look to an administrator: plain values for JSON, and never a payload."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from broker.connection import Connection
from broker.core import Core
from mqtt.codec import V5
from mqtt.session import Session, Subscription

_KEEP_ALIVE_FACTOR = 1.5
"""A connection's `keep_alive` is when it is given up: one and a half times what was agreed [MQTT-3.1.2-22]."""


def summary(core: Core, session: Session) -> dict[str, Any]:
    """One row of a list. Times are seconds, or ISO 8601 in UTC; what only a connection has is null without one."""
    connection = core.connections.get(session.client_id)
    found: dict[str, Any] = {
        "client_id": session.client_id,
        "principal": session.principal,
        "connected": connection is not None,
        "version": "5.0" if session.version == V5 else "3.1.1",
        "session_expiry": session.expiry,
        "subscriptions": len(session.subscriptions),
        "inflight": len(session.inflight),
        "queued": session.queued,
        "address": None,
        "connected_at": None,
        "connected_seconds": None,
        "keep_alive": None,
    }
    if connection is not None:
        age = max(0.0, core.clock() - connection.opened)
        found |= {
            "address": connection.peer,
            "connected_at": (datetime.now(UTC) - timedelta(seconds=age)).isoformat(timespec="seconds"),
            "connected_seconds": round(age, 1),
            "keep_alive": round(connection.keep_alive / _KEEP_ALIVE_FACTOR),
        }
    return found


def whole(core: Core, session: Session) -> dict[str, Any]:
    """Everything about one client: its row, its windows, its subscriptions."""
    connection = core.connections.get(session.client_id)
    return {
        **summary(core, session),
        "queue_limit": session.queue_limit,
        "window": max(0, session.window),
        "max_packet": session.max_packet or None,
        "connection": None if connection is None else _connection(core, connection),
        "filters": [subscription_view(text, held) for text, held in sorted(session.subscriptions.items())],
    }


def subscription_view(text: str, held: Subscription) -> dict[str, Any]:
    """One subscription; `text` is the filter as the client wrote it (`$share/…` included)."""
    return {
        "filter": text,
        "qos": held.qos,
        "no_local": held.no_local,
        "retain_as_published": held.retain_as_published,
        "identifiers": list(held.identifiers),
    }


def _connection(core: Core, connection: Connection) -> dict[str, Any]:
    return {
        "service": connection.identity.service,
        "receive_maximum": connection.receive_maximum,
        "unanswered": connection.unanswered,
        "not_read_because": sorted(connection.pauses),
        "silent_seconds": round(max(0.0, core.clock() - connection.last_heard), 1),
        "will_topic": connection.will.topic if connection.will is not None else None,
    }
