"""What comes in, by topic, as the envelopes of `chat.envelopes`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec

from chat import topics
from chat.envelopes import Announcement, Event, Invitation, ReceiptUpdate, Reject, Reset, SyncDone, SyncPage, decode
from chat.errors import InvalidEnvelope


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody is typing."""

    chat: str
    user: str


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether somebody is connected, since `at`."""

    user: str
    online: bool
    at: datetime


Inbox = Announcement | Invitation | Reject | SyncDone
"""What the app gets to see of the inbox; sync pages and resets are the SDK's own."""

Incoming = Event | ReceiptUpdate | Typing | Presence | SyncPage | Reset | Inbox


class _Typed(msgspec.Struct):
    type: str
    seq: int | None = None


class _Online(msgspec.Struct):
    online: bool
    at: datetime


_INBOX: dict[str, type[SyncPage | Reset | ReceiptUpdate | Inbox]] = {
    "announcement": Announcement,
    "invitation": Invitation,
    "receipts": ReceiptUpdate,
    "reject": Reject,
    "reset": Reset,
    "sync": SyncPage,
    "sync_done": SyncDone,
}


def read(topic: str, payload: bytes) -> Incoming | None:
    """Take a message apart; None for what this version of the SDK does not know.

    Raises:
        InvalidEnvelope: the payload is not what its topic says.
    """
    parsed = topics.parse(topic)
    match parsed:
        case topics.Topic(kind=topics.Kind.MESSAGES, scope=chat):
            event = decode(payload, Event)
            if event.chat != chat:
                raise InvalidEnvelope("an event of another chat")
            return event
        case topics.Topic(kind=topics.Kind.RECEIPTS):
            return decode(payload, ReceiptUpdate)
        case topics.Topic(kind=topics.Kind.TYPING, scope=chat, user=str(user)):
            return Typing(chat, user)
        case topics.Topic(kind=topics.Kind.PRESENCE, scope=user):
            state = decode(payload, _Online)
            return Presence(user, state.online, state.at)
        case topics.Topic(kind=topics.Kind.INBOX):
            typed = decode(payload, _Typed)
            # What has a `seq` is an event for this user's eyes only: the chat gets a void in its place, behind it.
            if typed.seq is not None:
                return decode(payload, Event)
            kind = _INBOX.get(typed.type)
            return decode(payload, kind) if kind is not None else None
        case _:
            return None
