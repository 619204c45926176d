"""What history answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from chat.envelopes import Event
from chat.status import Progress

MAX_SEQ = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""


class HistoryQuery(BaseModel):
    """`GET /v1/chats/{chat}/messages`: the newest events, those before a `seq`, those after one, or those between two."""

    model_config = ConfigDict(extra="forbid")

    after: int | None = Field(
        default=None, ge=0, le=MAX_SEQ, description="only events with a greater `seq`, oldest first"
    )
    before: int | None = Field(default=None, ge=0, le=MAX_SEQ, description="only events with a smaller `seq`")
    limit: int = Field(default=50, ge=1, le=200)


class HistoryItem(Event, kw_only=True):
    """A stored event with what became of it.

    Attributes:
        status: `SENT`, `DELIVERED` or `SEEN` by all others (people who are in the chat and joined before it).
        delivered_at: when the last of them received it; null before.
        seen_at: when the last of them saw it; null before.
    """

    status: str
    delivered_at: datetime | None
    seen_at: datetime | None


class HistoryPage(msgspec.Struct):
    """Events in order of `seq`.

    Attributes:
        next: pass it as `after` for newer events; null when there were none.
        prev: pass it as `before` for older events; null at the beginning of the chat.
    """

    items: list[HistoryItem]
    next: int | None
    prev: int | None


class Pins(msgspec.Struct):
    """What is pinned, the last pinned first."""

    items: list[Event]


def item(event: Event, progress: Progress) -> HistoryItem:
    """The event as history shows it."""
    fields: dict[str, Any] = {name: getattr(event, name) for name in event.__struct_fields__}
    return HistoryItem(
        **fields, status=progress.status.value, delivered_at=progress.delivered_at, seen_at=progress.seen_at
    )


SEND_EXAMPLE = {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "type": "message", "body": {"text": "안녕하세요"}}
EVENT_EXAMPLE = {
    "v": 1,
    "type": "message",
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "chat": "g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31",
    "seq": 7,
    "n": 7,
    "sender": "bada",
    "at": "2026-05-04T03:12:01.123000Z",
    "body": {"text": "안녕하세요"},
}
PINS_EXAMPLE = {"items": [{**EVENT_EXAMPLE, "pinned_at": "2026-05-04T03:20:00.000000Z"}]}
HISTORY_EXAMPLE = {
    "items": [{**EVENT_EXAMPLE, "status": "DELIVERED", "delivered_at": "2026-05-04T03:12:01.480000Z", "seen_at": None}],
    "next": None,
    "prev": 7,
}
