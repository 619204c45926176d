"""What the routes about contacts take and answer."""

from __future__ import annotations

from datetime import datetime

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.users.schemas import PROFILE_EXAMPLE, Profile


class Wish(BaseModel):
    """`PUT /v1/contacts/{user}`."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        examples=["하늘이"],
        description="what I call them; null: as they do",
    )


class PeopleQuery(BaseModel):
    """`GET /v1/contacts`, `GET /v1/blocks`."""

    model_config = ConfigDict(extra="forbid")

    after: str = Field(default="", max_length=64, description="the `next` of the page before")
    limit: int = Field(default=100, ge=1, le=500)


class ContactView(msgspec.Struct):
    """Somebody I know. `name`: what I call them; `profile`: null when they are no longer there."""

    user: str
    name: str | None
    added_at: datetime
    profile: Profile | None


class ContactPage(msgspec.Struct):
    """Contacts by id. `next`: pass it as `after` for more; null at the end."""

    items: list[ContactView]
    next: str | None


CONTACT_EXAMPLE = {
    "user": "haneul",
    "name": "하늘이",
    "added_at": "2026-05-04T03:02:01.123000Z",
    "profile": PROFILE_EXAMPLE,
}
CONTACTS_EXAMPLE = {"items": [CONTACT_EXAMPLE], "next": None}
