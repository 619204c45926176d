"""What the routes about push preferences take and answer."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from chat.push_preferences import QuietHours

Clock = Annotated[
    str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM of 24 hours", examples=["22:00"])
]


class Quiet(BaseModel):
    """The part of each day in which I am not woken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    start: Clock
    end: Clock = Field(description="may be of the next day: 22:00 to 07:00", examples=["07:00"])
    zone: str = Field(max_length=64, description="IANA time zone", examples=["Asia/Seoul"])


class Wanted(BaseModel):
    """`PUT /v1/me/push-preferences`; what is left out is as by default."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"shows": "sender", "mentions": True, "quiet": {"start": "22:00", "end": "07:00", "zone": "Asia/Seoul"}}
            ]
        },
    )

    shows: Literal["text", "sender", "nothing"] = Field(
        default="text", description="what a screen shows; of what is end-to-end encrypted never the text"
    )
    mentions: bool = Field(default=True, strict=True, description="a message that names me passes my mute of its chat")
    quiet: Quiet | None = None


class Preferences(msgspec.Struct):
    """What I want of pushes. `quiet` null: at any time."""

    shows: str
    mentions: bool
    quiet: QuietHours | None


PREFERENCES_EXAMPLE = {
    "shows": "sender",
    "mentions": True,
    "quiet": {"start": "22:00", "end": "07:00", "zone": "Asia/Seoul"},
}
