"""What the administration's routes about connections take and answer."""

from __future__ import annotations

from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from chat.admin import LiveConnection, LiveConnectionDetail

__all__ = [
    "ConnectionPage",
    "ConnectionsQuery",
    "DisconnectQuery",
    "Disconnected",
    "LiveConnection",
    "LiveConnectionDetail",
]


class ConnectionsQuery(BaseModel):
    """`GET /v1/admin/connections`."""

    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(default="", max_length=128, description="client ids that begin so: `haneul` or `haneul:`")
    state: Literal["connected", "away", "all"] = "connected"
    cursor: str | None = Field(default=None, max_length=1024, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=500)


class DisconnectQuery(BaseModel):
    """`DELETE /v1/admin/connections/{client}`."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=1000, pattern=r"\S", description="why: it goes to the audit log")
    session: Literal["keep", "drop"] = Field(
        default="keep", description="`drop`: its subscriptions and what waits for it are forgotten"
    )


class ConnectionPage(msgspec.Struct):
    """Connections, or sessions of clients that are away, by client id."""

    items: list[LiveConnection]
    next: str | None = None


class Disconnected(msgspec.Struct):
    """What became of it: whether it was connected, and whether its session is still there."""

    client_id: str
    disconnected: bool
    session_kept: bool


CONNECTION_EXAMPLE = {
    "client_id": "haneul:phone",
    "principal": "haneul",
    "connected": True,
    "version": "5.0",
    "address": "192.0.2.1:50000",
    "connected_at": "2026-05-04T03:02:01+00:00",
    "keep_alive": 60,
    "session_expiry": 604800.0,
    "subscriptions": 12,
    "inflight": 0,
    "queued": 0,
}
CONNECTION_DETAIL_EXAMPLE = {
    **CONNECTION_EXAMPLE,
    "queue_limit": 1000,
    "window": 1000,
    "filters": ["chats/g-1/messages"],
}
CONNECTIONS_EXAMPLE = {"items": [CONNECTION_EXAMPLE], "next": None}
DISCONNECTED_EXAMPLE = {"client_id": "haneul:phone", "disconnected": True, "session_kept": True}
