"""What the routes about dead letters take and answer."""

from __future__ import annotations

from datetime import datetime

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from chat.models import LetterEvent


class LetterQuery(BaseModel):
    """`GET /v1/admin/dead-letters`."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=1024, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)


class WhyMaybe(BaseModel):
    """The query of a replay or drop."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=1000, description="why, for the audit log")


class LetterView(msgspec.Struct):
    """A dead letter without its payload.

    `kind`: `message`, `push` or `job`. `chat` and `sender` are those of its topic; null when it is no message. `job` and `args`: of a push or job,
    what a replay sends. `size` is in bytes. `replayable`: whether it can be sent again as it is.
    """

    id: str
    topic: str
    chat: str | None
    sender: str | None
    reason: str
    tries: int
    at: datetime
    size: int
    replayable: bool
    history: list[LetterEvent]
    kind: str
    job: str | None
    args: list[str]


class LetterDetail(LetterView):
    """A dead letter as it came in: `payload` is text, or base64 where `encoding` says so."""

    payload: str
    encoding: str | None
    content_type: str | None
    properties: dict[str, str]


class LetterPage(msgspec.Struct):
    """Dead letters by id."""

    items: list[LetterView]
    next: str | None = None


class Replayed(msgspec.Struct):
    """What a replay came to: the message that is stored now (or was already), and its place; or the job that was sent."""

    id: str
    message: str | None = None
    chat: str | None = None
    seq: int | None = None
    job: str | None = None


_LETTER = {
    "id": "haneul:018f4a1c-0000-7000-8000-000000000001",
    "topic": "chats/g-1/send/haneul",
    "chat": "g-1",
    "sender": "haneul",
    "reason": "pymongo.errors.BulkWriteError",
    "tries": 3,
    "at": "2026-05-04T03:02:01.123000Z",
    "size": 78,
    "replayable": True,
    "history": [
        {"at": "2026-05-04T03:02:01.123000Z", "what": "parked", "detail": "pymongo.errors.BulkWriteError", "by": ""}
    ],
    "kind": "message",
    "job": None,
    "args": [],
}
LETTERS_EXAMPLE = {"items": [_LETTER], "next": None}
LETTER_EXAMPLE = {
    **_LETTER,
    "payload": '{"id":"018f4a1c-0000-7000-8000-000000000001","type":"message","body":{"text":"안녕하세요"}}',
    "encoding": None,
    "content_type": "application/json",
    "properties": {"ingest": "b1-7"},
}
REPLAYED_EXAMPLE = {
    "id": "haneul:018f4a1c-0000-7000-8000-000000000001",
    "message": "018f4a1c-0000-7000-8000-000000000001",
    "chat": "g-1",
    "seq": 7,
    "job": None,
}
