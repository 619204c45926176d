"""What others may know of a user."""

from __future__ import annotations

from typing import Annotated

import msgspec
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, UrlConstraints

About = Annotated[str, Field(max_length=500, examples=["산에 있어요 ⛰️"])]

MAX_AVATAR = 2048

Avatar = Annotated[AnyUrl, UrlConstraints(max_length=MAX_AVATAR, allowed_schemes=["https"], host_required=True)]
"""Where a picture is; `https` only, so that no page of ours loads it openly or runs it."""


class Profile(msgspec.Struct):
    """A user, as others see them.

    Attributes:
        about, avatar: empty and null for those to whom the user does not show them.
    """

    id: str
    display_name: str
    about: str
    avatar: str | None


class ProfileList(msgspec.Struct):
    """Those who were asked for and are there, by id."""

    items: list[Profile]


class UsersQuery(BaseModel):
    """`GET /v1/users`."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=500)] = Field(
        description="handles, each as a parameter of its own", examples=[["haneul", "bada"]]
    )


PROFILE_EXAMPLE = {
    "id": "haneul",
    "display_name": "김하늘",
    "about": "산에 있어요 ⛰️",
    "avatar": "https://media.example.org/haneul.webp",
}
PROFILES_EXAMPLE = {"items": [PROFILE_EXAMPLE]}
