"""What history answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.values import Moment, Whole
from chat.envelopes import Event
from chat.events import always
from chat.folding import Echoes, Reaction
from chat.status import Progress

MAX_SEQ = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly."""


Shown = Literal["message", "edit", "delete", "hide", "reaction", "unreact", "pin", "unpin", "system"]

Seq = Annotated[int, Field(ge=0, le=MAX_SEQ)]


class HistoryQuery(BaseModel):
    """`GET /v1/chats/{chat}/messages`: the newest events, or those on one side of a `seq` or a moment, or between two, or around a message."""

    model_config = ConfigDict(extra="forbid")

    after: Seq | None = Field(default=None, description="only events with a greater `seq`, oldest first")
    before: Seq | None = Field(default=None, description="only events with a smaller `seq`")
    since: Moment | None = Field(
        default=None, description="in place of `after`: stored then or later", examples=["2026-05-04T12:00:00+09:00"]
    )
    until: Moment | None = Field(default=None, description="in place of `before`: stored before")
    around: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="the id of a message: it, and as many on both sides as there is room for"
    )
    type: Annotated[list[Shown], Field(max_length=8)] = Field(
        default=[],
        description="only events of these types. A page may then hold fewer than `limit`, or none, and have more behind it",
    )
    limit: int = Field(default=50, ge=1, le=200)

    @model_validator(mode="after")
    def _one_way(self) -> HistoryQuery:
        places = [self.after, self.since], [self.before, self.until]
        if any(None not in both for both in places):
            raise ValueError("a page begins at a `seq` or at a moment, and ends at one")
        if self.around is not None and any(one is not None for both in places for one in both):
            raise ValueError("`around` stands alone")
        return self

    @property
    def newest(self) -> bool:
        """Whether no place was named."""
        return all(one is None for one in (self.after, self.before, self.since, self.until, self.around))

    @property
    def below(self) -> int | None:
        """The `seq` before which all kinds of events are wanted, if nothing else was named."""
        named = any(one is not None for one in (self.after, self.since, self.until, self.around))
        return None if named or self.type else self.before


class RepliesQuery(BaseModel):
    """`GET /v1/chats/{chat}/messages/{message}/replies`."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(default=0, ge=0, le=MAX_SEQ, description="the `next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)


class HistoryItem(Event, kw_only=True):
    """A stored event with what became of it.

    Attributes:
        status: `SENT`, `DELIVERED` or `SEEN` by all others (people who are in the chat and joined before it).
        delivered_at: when the last of them received it; null before, and in large chats.
        seen_at: when the last of them saw it; null before, and in large chats.
        reactions: to a message: per emoji, the most frequent first. Of each person the newest counts.
        replies: how many messages answer it.
    """

    status: str = always("SENT")
    delivered_at: datetime | None = always(None)
    seen_at: datetime | None = always(None)
    reactions: tuple[Reaction, ...] = ()
    replies: int = 0


class HistoryPage(msgspec.Struct):
    """Events in order of `seq`.

    Attributes:
        next: pass it as `after` for newer events; null when there were none.
        prev: pass it as `before` for older events; null at the beginning of the chat.
    """

    items: list[HistoryItem]
    next: int | None
    prev: int | None


class Reader(msgspec.Struct):
    """How far a message has come with one person. A time is null before it, and when the log no longer tells."""

    user: str
    delivered: bool
    seen: bool
    delivered_at: datetime | None
    seen_at: datetime | None


class MessageReceipts(msgspec.Struct):
    """Who has received and seen a message: people who are in the chat, joined before it and did not write it.

    Attributes:
        status, delivered_at, seen_at: as in history.
        people: how many they are.
        delivered, seen: how many of them have received and seen it. Who hides what they have seen has not seen it, for others.
        readers: who they are, by id; null in chats that are too large for names.
    """

    status: str
    delivered_at: datetime | None
    seen_at: datetime | None
    people: int
    delivered: int
    seen: int
    readers: list[Reader] | None


class Cleared(BaseModel):
    """`PUT /v1/chats/{chat}/cleared`."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"seq": 7}]})

    seq: Whole = Field(ge=0, le=MAX_SEQ, description="everything up to it; beyond the newest event it is as the newest")


class ClearedUpTo(msgspec.Struct):
    """What is not shown to me any more. It only rises."""

    seq: int


class Pins(msgspec.Struct):
    """What is pinned, the last pinned first."""

    items: list[Event]


def item(event: Event, progress: Progress, echoes: Echoes) -> HistoryItem:
    """The event as history shows it."""
    if isinstance(event, HistoryItem):  # from a copy, which makes them at once
        shown = event
    else:
        shown = HistoryItem(**{name: getattr(event, name) for name in event.__struct_fields__})
    shown.status = progress.status
    shown.delivered_at, shown.seen_at = progress.delivered_at, progress.seen_at
    if echoes.reactions and event.deleted_at is None and not event.hidden:
        shown.reactions = tuple(echoes.reactions.get(event.id, ()))
    if echoes.replies:
        shown.replies = echoes.replies.get(event.id, 0)
    return shown


SEND_EXAMPLE = {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "type": "message", "body": {"text": "안녕하세요"}}
EVENT_EXAMPLE = {
    "v": 1,
    "type": "message",
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "chat": "g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31",
    "seq": 7,
    "n": 7,
    "sender": "bada",
    "at": "2026-05-04T03:12:01.123000Z",
    "body": {"text": "안녕하세요"},
}
PINS_EXAMPLE = {"items": [{**EVENT_EXAMPLE, "pinned_at": "2026-05-04T03:20:00.000000Z"}]}
HISTORY_EXAMPLE = {
    "items": [{**EVENT_EXAMPLE, "status": "DELIVERED", "delivered_at": "2026-05-04T03:12:01.480000Z", "seen_at": None}],
    "next": None,
    "prev": 7,
}
ITEM_EXAMPLE = {
    **EVENT_EXAMPLE,
    "status": "SEEN",
    "delivered_at": "2026-05-04T03:12:01.480000Z",
    "seen_at": "2026-05-04T03:13:20.002000Z",
    "reactions": [{"emoji": "👍", "count": 2, "mine": True}],
    "replies": 1,
}
RECEIPTS_EXAMPLE = {
    "status": "DELIVERED",
    "delivered_at": "2026-05-04T03:12:01.480000Z",
    "seen_at": None,
    "people": 2,
    "delivered": 2,
    "seen": 1,
    "readers": [
        {
            "user": "byeol",
            "delivered": True,
            "seen": False,
            "delivered_at": "2026-05-04T03:12:01.480000Z",
            "seen_at": None,
        },
        {
            "user": "haneul",
            "delivered": True,
            "seen": True,
            "delivered_at": "2026-05-04T03:12:01.230000Z",
            "seen_at": "2026-05-04T03:13:20.002000Z",
        },
    ],
}
CLEARED_EXAMPLE = {"seq": 7}
