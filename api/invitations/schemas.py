"""What the routes about links and requests to join take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.users.schemas import PROFILE_EXAMPLE, Profile
from chat.people import InvitationLink

DAY = 86_400


class NewLink(BaseModel):
    """`POST /v1/chats/{chat}/invitations`."""

    model_config = ConfigDict(extra="forbid")

    expires_in: int = Field(default=7 * DAY, ge=60, le=365 * DAY, description="seconds that the link is good for")
    max_uses: int | None = Field(
        default=None, ge=1, le=100_000, description="how many may come by it; null: any number"
    )
    role: Literal["member", "reader"] | None = Field(
        default=None, description="what they become; left out: `member`, in a channel `reader`"
    )
    approval: bool = Field(
        default=False, strict=True, description="whoever has the link asks to join, and a manager decides"
    )


class Token(BaseModel):
    """`POST /v1/invitations/preview`, `POST /v1/invitations/accept`: in the body, so that no log of addresses has it."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(min_length=1, max_length=128, examples=["q2Zt…"])


class LinkView(msgspec.Struct):
    """A link, as those who manage the chat see it. `id` names it and opens nothing. `uses`: how many have come, or asked, by it."""

    id: str
    role: str
    approval: bool
    created_by: str
    created_at: datetime
    expires_at: datetime
    max_uses: int | None
    uses: int


class NewLinkView(LinkView):
    """A new link. `token` is shown this once: only its hash is kept."""

    token: str


class LinkList(msgspec.Struct):
    """The links of a chat that are good, the newest first."""

    items: list[LinkView]


class Preview(msgspec.Struct):
    """Where a link leads.

    Attributes:
        members: how many are there.
        approval: showing the link asks to join.
        present: I am in it already.
    """

    chat: str
    kind: str
    title: str | None
    members: int
    approval: bool
    role: str
    expires_at: datetime
    present: bool


class Waiting(msgspec.Struct):
    """I have asked to join, and a manager of the chat will decide."""

    chat: str
    at: datetime


class RequestView(msgspec.Struct):
    """Somebody who waits to be let in. `profile`: null when they are no longer there."""

    user: str
    at: datetime
    link: str
    role: str
    profile: Profile | None


class RequestPage(msgspec.Struct):
    """Who waits, by user id. `next`: pass it as `after` for more; null at the end."""

    items: list[RequestView]
    next: str | None


class WaitingList(msgspec.Struct):
    """Where I have asked to join, and nobody has answered."""

    items: list[Waiting]


def view(link: InvitationLink) -> LinkView:
    """The link without what opens it."""
    return LinkView(
        link.id,
        link.role.value,
        link.approval,
        link.created_by,
        link.created_at,
        link.expires_at,
        link.max_uses,
        link.uses,
    )


def new_view(link: InvitationLink, token: str) -> NewLinkView:
    """The link, this once with what opens it."""
    return NewLinkView(**msgspec.structs.asdict(view(link)), token=token)


CHAT = "g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31"
LINK_EXAMPLE = {
    "id": "inv-5b7e4f1a8c6d2e0b",
    "role": "member",
    "approval": False,
    "created_by": "haneul",
    "created_at": "2026-05-04T03:02:01.123000Z",
    "expires_at": "2026-05-11T03:02:01.123000Z",
    "max_uses": 10,
    "uses": 3,
}
NEW_LINK_EXAMPLE = {**LINK_EXAMPLE, "uses": 0, "token": "q2Zt…"}
LINKS_EXAMPLE = {"items": [LINK_EXAMPLE]}
PREVIEW_EXAMPLE = {
    "chat": CHAT,
    "kind": "group",
    "title": "주말 등산",
    "members": 12,
    "approval": False,
    "role": "member",
    "expires_at": "2026-05-11T03:02:01.123000Z",
    "present": False,
}
WAITING_EXAMPLE = {"chat": CHAT, "at": "2026-05-04T03:02:01.123000Z"}
WAITING_LIST_EXAMPLE = {"items": [WAITING_EXAMPLE]}
REQUESTS_EXAMPLE = {
    "items": [
        {
            "user": "haneul",
            "at": "2026-05-04T03:02:01.123000Z",
            "link": "inv-5b7e4f1a8c6d2e0b",
            "role": "member",
            "profile": PROFILE_EXAMPLE,
        }
    ],
    "next": None,
}
