"""What the REST API answers, as typed records. Unknown fields are ignored, so that an old client survives a new server."""

from __future__ import annotations

from datetime import datetime

import msgspec

from chat.envelopes import Event, Reset, SyncPage


class Account(msgspec.Struct):
    """The signed-in user."""

    id: str
    display_name: str
    created_at: datetime
    admin: bool = False
    hides_seen: bool = False


class Tokens(msgspec.Struct):
    """A sign-in. `expires_in`: seconds that the access token lives; the refresh token works once."""

    access_token: str
    refresh_token: str
    expires_in: int


class ChatInfo(msgspec.Struct):
    """A chat, as its member sees it.

    Attributes:
        kind: `direct`, `group` or `channel`.
        last_seq: the newest event's.
        unread: messages that this user has not seen.
        last_message: the newest message.
    """

    id: str
    kind: str
    title: str | None = None
    last_seq: int = 0
    delivered_seq: int = 0
    seen_seq: int = 0
    unread: int = 0
    last_message: Event | None = None


class ChatList(msgspec.Struct):
    """Chats, the most lately active first; `next` is the cursor of the following page, None at the end."""

    items: list[ChatInfo]
    next: str | None = None


class MemberInfo(msgspec.Struct):
    """A member with their watermarks, as `seq`."""

    user: str
    role: str
    joined_seq: int = 0
    delivered_seq: int = 0
    seen_seq: int = 0


class MemberList(msgspec.Struct):
    """Members by id; `next` is the `after` of the following page, None at the end."""

    items: list[MemberInfo]
    next: str | None = None


class HistoryEvent(Event, kw_only=True):
    """A stored event with what became of it.

    Attributes:
        status: `SENT`, `DELIVERED` or `SEEN`, by all other people in the chat who joined before it.
        delivered_at: when the last of them had received it; None before.
        seen_at: when the last of them had seen it; None before.
    """

    status: str
    delivered_at: datetime | None = None
    seen_at: datetime | None = None


class History(msgspec.Struct):
    """Events in order of `seq`.

    Attributes:
        next: the `after` that brings newer events; None when there were none.
        prev: the `before` that brings older events; None at the beginning of the chat.
    """

    items: list[HistoryEvent]
    next: int | None = None
    prev: int | None = None


class Pins(msgspec.Struct):
    """What is pinned."""

    items: list[Event]


class DeviceInfo(msgspec.Struct):
    """A device; `secret` is there only in the answer that made it."""

    id: str
    name: str
    created_at: datetime
    secret: str | None = None


class DeviceList(msgspec.Struct):
    """Devices of one owner."""

    items: list[DeviceInfo]


class SyncItems(msgspec.Struct):
    """One `SyncPage` or `Reset` per cursor; `type` tells which."""

    items: list[msgspec.Raw]


class SyncKind(msgspec.Struct):
    """What an item of `SyncItems` is: `sync` or `reset`."""

    type: str


def read_sync_item(item: msgspec.Raw) -> SyncPage | Reset:
    """The item as what it is. Raises `msgspec.DecodeError`."""
    if msgspec.json.decode(item, type=SyncKind).type == "reset":
        return msgspec.json.decode(item, type=Reset)
    return msgspec.json.decode(item, type=SyncPage)
