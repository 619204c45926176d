"""What the routes about members take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from chat.models import Member

Ids = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(
        description="handles of users, or `dev-…` ids of devices that are yours", examples=[["bada", "dev-thermometer"]]
    ),
]

MAX_PAGE = 500


class NewMembers(BaseModel):
    """`POST /v1/chats/{chat}/members`."""

    model_config = ConfigDict(extra="forbid")

    members: Annotated[Ids, Field(min_length=1, max_length=100)]
    role: Literal["admin", "member", "reader"] | None = Field(
        default=None,
        description="`admin` only the owner can give; `reader` may not write; left out: `member`, in a channel `reader`",
    )


class NewRole(BaseModel):
    """`PATCH /v1/chats/{chat}/members/{user}`."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["admin", "member", "reader"]


class NewOwner(BaseModel):
    """`PUT /v1/chats/{chat}/owner`."""

    model_config = ConfigDict(extra="forbid")

    user: str = Field(max_length=64, examples=["bada"])


class MembersQuery(BaseModel):
    """`GET /v1/chats/{chat}/members`."""

    model_config = ConfigDict(extra="forbid")

    after: str = Field(default="", max_length=64, description="the `next` of the page before")
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)


class MemberView(msgspec.Struct):
    """A member with their watermarks (as `seq`)."""

    user: str
    role: str
    joined_at: datetime
    joined_seq: int
    delivered_seq: int
    seen_seq: int


class MemberPage(msgspec.Struct):
    """Members by id. `next`: pass it as `after` for more; null at the end."""

    items: list[MemberView]
    next: str | None


def view(member: Member) -> MemberView:
    """The member, as other members see them."""
    return MemberView(
        user=member.user,
        role=member.role.value,
        joined_at=member.joined_at,
        joined_seq=member.joined_seq,
        delivered_seq=member.delivered_seq,
        seen_seq=member.seen_seq,
    )


MEMBERS_EXAMPLE = {
    "items": [
        {
            "user": "bada",
            "role": "member",
            "joined_at": "2026-05-04T03:02:01.123000Z",
            "joined_seq": 0,
            "delivered_seq": 7,
            "seen_seq": 5,
        }
    ],
    "next": None,
}
