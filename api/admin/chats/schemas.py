"""What the administration's routes about chats take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.admin.access import Text
from chat.models import Chat, ChatKind


class AdminChatsQuery(BaseModel):
    """`GET /v1/admin/chats`."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    kind: ChatKind | None = None
    member: str | None = Field(default=None, max_length=64, description="a user or device that is in it now")
    cursor: str | None = Field(default=None, max_length=256, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)


class AdminMembersQuery(BaseModel):
    """`GET /v1/admin/chats/{chat}/members`."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=256, description="`next` of the page before")
    limit: int = Field(default=100, ge=1, le=500)


class AdminChat(msgspec.Struct):
    """A chat, as administrators see it: never what is said in it. `last_seq`, `last_at`: of its newest event, about."""

    id: str
    kind: str
    title: str | None
    created_at: datetime
    created_by: str
    last_seq: int
    last_at: datetime | None


class AdminChatDetail(AdminChat):
    """A chat with how many are in it."""

    members: int


class AdminChatPage(msgspec.Struct):
    """Chats by id."""

    items: list[AdminChat]
    next: str | None = None


class AdminMember(msgspec.Struct):
    """Somebody who is in a chat."""

    user: str
    role: str
    joined_at: datetime


class AdminMemberPage(msgspec.Struct):
    """Members by id."""

    items: list[AdminMember]
    next: str | None = None


def facts(chat: Chat) -> dict[str, Any]:
    """The fields of `AdminChat`."""
    return {
        "id": chat.id,
        "kind": chat.kind.value,
        "title": chat.title,
        "created_at": chat.created_at,
        "created_by": chat.created_by,
        "last_seq": chat.last_seq,
        "last_at": chat.last_at,
    }


CHAT_EXAMPLE = {
    "id": "g-1",
    "kind": "group",
    "title": "주말 등산",
    "created_at": "2026-05-04T03:02:01.123000Z",
    "created_by": "haneul",
    "last_seq": 7,
    "last_at": "2026-05-04T03:12:01.123000Z",
}
CHAT_DETAIL_EXAMPLE = {**CHAT_EXAMPLE, "members": 5}
CHATS_EXAMPLE = {"items": [CHAT_EXAMPLE], "next": None}
MEMBERS_EXAMPLE = {
    "items": [{"user": "haneul", "role": "owner", "joined_at": "2026-05-04T03:02:01.123000Z"}],
    "next": None,
}
