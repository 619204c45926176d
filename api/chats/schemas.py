"""What the routes about chats take and answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, field_validator

from api.changes import Changes
from api.clock import now
from api.members.schemas import Ids
from api.pagination import MAX_CURSOR
from api.values import Moment
from chat.envelopes import Event


class NewChat(BaseModel):
    """`POST /v1/chats`."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["direct", "group", "channel"]
    title: str | None = Field(default=None, min_length=1, max_length=128, examples=["주말 등산"])
    members: Annotated[Ids, Field(max_length=500)] = []


class NewTitle(BaseModel):
    """`PATCH /v1/chats/{chat}`."""

    model_config = ConfigDict(extra="forbid")

    title: str | None = Field(min_length=1, max_length=128, examples=["주말 등산"], description="null takes it away")


class Retention(BaseModel):
    """`PUT /v1/chats/{chat}/retention`."""

    model_config = ConfigDict(extra="forbid")

    days: int | None = Field(
        ge=1, le=36_500, examples=[30], description="for so long what is said is kept; null: as everywhere"
    )


MAX_MUTE = timedelta(days=36_500)
"""For good, as far as people go; every muting has an end."""


class Arrangement(Changes):
    """`PATCH /v1/chats/{chat}/arrangement`: what is to be changed; what is left out stays."""

    muted_until: Moment | None = Field(
        default=None,
        examples=["2026-05-05T07:00:00Z"],
        description="no pushes until then (at most 100 years from now); null: not muted",
    )
    pinned: bool = Field(default=False, strict=True, description="stands at the top of the list")
    archived: bool = Field(default=False, strict=True, description="is put away")

    @field_validator("muted_until")
    @classmethod
    def _has_an_end(cls, value: datetime | None) -> datetime | None:
        if value is not None and value > now() + MAX_MUTE:
            raise ValueError("at most 100 years from now")
        return value


class ChatsQuery(BaseModel):
    """`GET /v1/chats`."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=MAX_CURSOR, description="the `next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)
    archived: bool | None = Field(default=None, description="only those that I have put away, or only the others")


class ChatView(msgspec.Struct):
    """A chat, as one of its members sees it.

    Attributes:
        role: mine.
        peer: of a direct chat: the other one.
        last_seq: the newest event's `seq`.
        delivered_seq, seen_seq: my watermarks.
        unread: messages that I have not seen.
        last_message: the newest message, as on `chats/{chat}/messages`.
        muted_until: until then I get no pushes of it; null when I do.
        pinned, archived: as I have arranged it.
        retention_days: for so long what is said is kept; null: as everywhere.
    """

    id: str
    kind: str
    title: str | None
    created_at: datetime
    created_by: str
    role: str
    peer: str | None
    last_seq: int
    delivered_seq: int
    seen_seq: int
    unread: int
    last_message: Event | None
    muted_until: datetime | None
    pinned: bool
    archived: bool
    retention_days: int | None


class ChatPage(msgspec.Struct):
    """Chats, those that I have pinned first, then the most lately active. `next`: pass it as `cursor` for more; null at the end."""

    items: list[ChatView]
    next: str | None


CHAT_EXAMPLE = {
    "id": "g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31",
    "kind": "group",
    "title": "주말 등산",
    "created_at": "2026-05-04T03:02:01.123000Z",
    "created_by": "haneul",
    "role": "owner",
    "peer": None,
    "last_seq": 7,
    "delivered_seq": 7,
    "seen_seq": 5,
    "unread": 2,
    "last_message": {
        "v": 1,
        "type": "message",
        "id": "01890a5d-ac96-774b-bcce-b302099a8057",
        "chat": "g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31",
        "seq": 7,
        "n": 7,
        "sender": "bada",
        "at": "2026-05-04T03:12:01.123000Z",
        "body": {"text": "안녕하세요"},
    },
    "muted_until": None,
    "pinned": True,
    "archived": False,
    "retention_days": None,
}
CHATS_EXAMPLE = {"items": [CHAT_EXAMPLE], "next": None}
