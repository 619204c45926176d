"""What the routes about the caller take."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.auth.schemas import DisplayName
from api.changes import Changes
from api.users.schemas import About, Avatar

Whom = Literal["everyone", "contacts"]


class Wishes(Changes):
    """`PATCH /v1/me`: what is to be changed."""

    display_name: DisplayName = "-"
    about: About = ""
    avatar: Avatar | None = Field(
        default=None, examples=["https://media.example.org/haneul.webp"], description="null takes it away"
    )
    hides_seen: bool = Field(
        default=False, strict=True, description="neither show to others what I have seen, nor see it of them"
    )
    profile_for: Whom = Field(default="everyone", description="who sees `about` and `avatar`")
    reachable_by: Whom = Field(
        default="everyone", description="who may open a direct chat with me, or bring me into a group"
    )

    def profile(self) -> dict[str, str | None]:
        """The changes of the profile alone, as the store takes them."""
        named = self.model_dump(mode="json", exclude_unset=True, exclude={"hides_seen"})
        return {name: value if value is None else str(value) for name, value in named.items()}
