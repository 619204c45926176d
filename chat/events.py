"""Events: what is stored in a chat, and what it is made of."""

from __future__ import annotations

from datetime import datetime
from itertools import repeat
from typing import Annotated, Any, Literal, TypeVar

import msgspec

T = TypeVar("T")


def always(value: T) -> T:
    """A default that is written out even where defaults are left out: receivers tell envelopes apart by it.

    Args:
        value: one that can't be changed. (Calling `__next__` of its repetition costs a third of what a lambda does, four times per event.)
    """
    return msgspec.field(default_factory=repeat(value).__next__)


class Attachment(msgspec.Struct, omit_defaults=True):
    """A file that is stored elsewhere."""

    url: str
    content_type: str
    size: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    name: str | None = None


class Body(msgspec.Struct, omit_defaults=True):
    """What a message says: exactly one of text, attachment, data or cipher.

    `data` with `content_type` is what a device published as plain bytes: text as it is, anything else in base64 with
    `encoding` set. `cipher` is end-to-end encrypted and opaque to the server.
    """

    text: str | None = None
    attachment: Attachment | None = None
    data: Any = None
    content_type: str | None = None
    encoding: Literal["base64"] | None = None
    cipher: str | None = None
    emoji: str | None = None

    def parts(self) -> int:
        """How many of the alternatives are present."""
        return (
            (self.text is not None)
            + (self.attachment is not None)
            + (self.data is not None)
            + (self.cipher is not None)
            + (self.emoji is not None)
        )


class Forwarded(msgspec.Struct, omit_defaults=True):
    """Where a forwarded message was said first. Its chat is not told: not everybody here may know of it.

    Attributes:
        id, sender, at: of the first message, also when it was forwarded again.
    """

    id: str
    sender: str
    at: datetime


class System(msgspec.Struct, omit_defaults=True):
    """What has changed about a chat.

    Attributes:
        what: `joined`, `left` (`by` the same user) or was removed (`by` another), `renamed`, `role`, `announcement`.
        by: who did it.
        users: whom it is about; none for `renamed`.
        title: the new one; None when the chat has none any more.
        role: the new one.
        text: of an `announcement`, by an administrator through a service of ours.
    """

    what: Literal["joined", "left", "renamed", "role", "announcement"]
    by: str
    users: list[str] = []
    title: str | None = None
    role: str | None = None
    text: str | None = None


class Event(msgspec.Struct, omit_defaults=True):
    """A stored event, as members receive it and as history shows it.

    Attributes:
        type: `message`, `edit`, `delete`, `hide`, `reaction`, `unreact` (the sender's reaction with that emoji is taken back), `pin`,
            `unpin`, `system`, or `void` (a slot that shows nothing: it could not be used, or what is in it is somebody else's own).
        id: the sender's message id; ids of `void` events are the server's.
        seq: place in the chat's total order, dense from 1.
        n: how many messages the chat held once this event was stored.
        at: when the server stored it, UTC, milliseconds.
        trace_id: of the trace in which it was recorded on its way here; absent for most.
        forwarded: of a message that was forwarded: where it comes from.
        system: of a `system` event: what has changed.
        pinned_at: since when it is pinned; absent when it is not.
        hidden: its reader has hidden it from themselves: it has no body.
        only: in the store: the one who may see it (`chat.views`). Nobody receives this field.
        hidden_by: in the store: who has hidden it. Nobody receives this field.
    """

    type: str
    id: str
    chat: str
    seq: int
    n: int
    sender: str
    at: datetime
    v: int = always(1)
    body: Body | None = None
    target: str | None = None
    reply_to: str | None = None
    mentions: list[str] = []
    expires_at: datetime | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    trace_id: str | None = None
    forwarded: Forwarded | None = None
    system: System | None = None
    pinned_at: datetime | None = None
    hidden: bool = False
    only: str | None = None
    hidden_by: list[str] = []
