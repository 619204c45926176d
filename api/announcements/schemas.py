"""What the route of announcements takes and answers."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from chat.envelopes import Announcement


class AnnouncementsQuery(BaseModel):
    """`GET /v1/announcements`."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=256, description="`next` of the page before")
    limit: int = Field(default=20, ge=1, le=100)


class AnnouncementPage(msgspec.Struct):
    """Announcements, newest first, as they come on the inbox."""

    items: list[Announcement]
    next: str | None = None


ANNOUNCEMENTS_EXAMPLE = {
    "items": [
        {
            "id": "018f4a1c-0000-7000-8000-000000000001",
            "text": "오늘 밤 02시부터 점검합니다",
            "at": "2026-05-04T03:02:01.123000Z",
            "type": "announcement",
        }
    ],
    "next": None,
}
