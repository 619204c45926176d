"""What the routes about broadcasts take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.admin.access import Reason
from chat.broadcasts import MAX_CHATS, MAX_TEXT, Broadcast


class NewBroadcast(BaseModel):
    """`POST /v1/admin/broadcasts`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str | None = Field(
        default=None, max_length=36, description="a UUID of yours: sent again, nothing is told twice", examples=[None]
    )
    text: str = Field(min_length=1, max_length=MAX_TEXT, pattern=r"\S", examples=["오늘 밤 02시부터 점검합니다"])
    chats: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[], max_length=MAX_CHATS, description="where to; without any: to everybody's inbox"
    )
    reason: Reason


class BroadcastsQuery(BaseModel):
    """`GET /v1/admin/broadcasts`."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=256, description="`next` of the page before")
    limit: int = Field(default=20, ge=1, le=100)


class BroadcastView(msgspec.Struct):
    """A broadcast and how far it has come. `state`: `running`, `done` or `cancelled`. `total`: users or chats there were when it was made;
    `told`: those that have it; `refused`: chats that are gone. `chats`: empty when it is for everybody.
    """

    id: str
    text: str
    by: str
    at: datetime
    chats: list[str]
    state: str
    total: int
    told: int
    refused: int
    ended_at: datetime | None


class BroadcastPage(msgspec.Struct):
    """Broadcasts, newest first."""

    items: list[BroadcastView]
    next: str | None = None


def view(broadcast: Broadcast) -> BroadcastView:
    """As administrators see it."""
    fields: dict[str, Any] = {
        name: getattr(broadcast, name) for name in BroadcastView.__struct_fields__ if name != "state"
    }
    return BroadcastView(**fields, state=broadcast.state.value)


BROADCAST_EXAMPLE = {
    "id": "018f4a1c-0000-7000-8000-000000000001",
    "text": "오늘 밤 02시부터 점검합니다",
    "by": "admin",
    "at": "2026-05-04T03:02:01.123000Z",
    "chats": [],
    "state": "running",
    "total": 1200,
    "told": 400,
    "refused": 0,
    "ended_at": None,
}
BROADCASTS_EXAMPLE = {"items": [BROADCAST_EXAMPLE], "next": None}
