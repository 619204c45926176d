"""Envelopes: the JSON that travels on the topics, as typed structs, and the functions that read it strictly.

What is stored and shown, `Event` and its `Body`, is in `chat.events`; what our processes tell each other is in `chat.signals`. Both can be imported from here too.

Up: `Send` on `send`, `Ack` on `ack`, `SyncRequest` on `sync`. Down: `Event` on `messages`, `ReceiptUpdate` on
`receipts`, and `Reject`, `SyncPage`, `Reset`, `Invitation`, `Announcement` on `inbox`. Between our processes: `Delivered`,
`Connected` and `Disconnected` on `$events/…`, `Invalidation` on Valkey.

Unknown fields are refused on the way up (a typing error must not be lost in silence) and ignored on the way down
(so that an old client survives a new server).
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from chat.errors import InvalidEnvelope, TooLarge
from chat.events import Attachment, Body, Event, Forwarded, System, always
from chat.ids import check_message_id, is_principal, message_id_from_ingest
from chat.signals import Connection, Delivered, DeliveredMark, Invalidation

__all__ = [
    "MAX_DEPTH",
    "MAX_SEND_BYTES",
    "MAX_TARGETS",
    "MAX_TEXT",
    "Ack",
    "Announcement",
    "Attachment",
    "Body",
    "Connection",
    "Delivered",
    "DeliveredMark",
    "Event",
    "Forwarded",
    "Invalidation",
    "Invitation",
    "Mark",
    "ReceiptUpdate",
    "Reject",
    "Reset",
    "Send",
    "SyncDone",
    "SyncPage",
    "SyncRequest",
    "System",
    "Type",
    "check_sync",
    "decode",
    "encode",
    "read_ack",
    "read_send",
    "read_sync",
    "read_system",
    "wrap_plain",
]

MAX_SEND_BYTES = 64 * 1024
"""Default bound of an envelope on `send` (PABAL_BRIDGE_MAX_SEND_BYTES): pictures travel as attachments, not inline."""

MAX_TEXT = 65_536
"""Default bound of a text, in characters (PABAL_BRIDGE_MAX_TEXT): the bytes above allow no more, operators may want less."""

MAX_DEPTH = 64
"""Levels of JSON in `data`: what every store and every reader down the line can take."""

MAX_TARGETS = 100
"""How many people one message may mention, and how many cursors one sync may name times ten."""

Type = Literal["message", "edit", "delete", "hide", "reaction", "unreact", "forward", "pin", "unpin"]
"""What a client may send. A `forward` is stored as a `message`; `delete` is for everyone, `hide` for oneself.

A `reaction` puts its sender's emoji on a message, in the place of the one that they have put there before; `unreact` with the same emoji takes it away again, with
another one it does nothing. Of each sender and message the newest by `seq` holds, so both are harmless twice, and nobody takes away what somebody else has put there.
"""

T = TypeVar("T")


class Send(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a client publishes on `chats/{chat}/send/{user}`.

    Attributes:
        target: what it is about; of a `forward`, a message of any chat that its sender is in.
        system: for our own services only.
    """

    id: str
    type: Type | Literal["system"] = "message"
    body: Body | None = None
    target: str | None = None
    reply_to: str | None = None
    mentions: list[str] = []
    expires_in: int | None = None
    system: System | None = None


class _StrictAttachment(Attachment, forbid_unknown_fields=True):
    """As it must come up."""


class _StrictBody(Body, forbid_unknown_fields=True):
    """As it must come up."""

    attachment: _StrictAttachment | None = None


class _StrictSend(Send, forbid_unknown_fields=True):
    """As it must come up: the same fields, and no others at any level."""

    type: Type = "message"
    body: _StrictBody | None = None


class _ServiceSend(Send, forbid_unknown_fields=True, kw_only=True):
    """As it must come from one of our services: what has changed, or the deletion of what a moderator has taken down."""

    type: Literal["system", "delete"]


class Ack(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a client publishes on `chats/{chat}/ack/{user}`: one or both watermarks, as `seq`."""

    delivered: int | None = None
    seen: int | None = None


class Mark(msgspec.Struct, omit_defaults=True):
    """One member's watermarks after a move."""

    user: str
    delivered: int
    seen: int


class ReceiptUpdate(msgspec.Struct, omit_defaults=True):
    """What members receive on `chats/{chat}/receipts`.

    Attributes:
        marks: the members whose watermarks moved, by name (chats of up to the aggregation threshold).
        delivered: in larger chats: how many members have received everything up to `seq`.
        seen: in larger chats: how many members have seen everything up to `seq`.
    """

    chat: str
    at: datetime
    type: str = always("receipts")
    marks: list[Mark] = []
    seq: int | None = None
    delivered: int | None = None
    seen: int | None = None


class Reject(msgspec.Struct, omit_defaults=True):
    """On the inbox: a message that was refused, and why. `id` is None when none could be read."""

    code: str
    reason: str
    id: str | None = None
    chat: str | None = None
    type: str = always("reject")


class SyncRequest(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a client publishes on `users/{user}/sync`.

    Attributes:
        cursors: the last `seq` that the client holds, per chat; 0 for nothing.
        req: any word of the client's; the answers repeat it.
        limit: at most so many events per page (1 to 500).
    """

    cursors: dict[str, int]
    req: str | None = None
    limit: int = 100


class SyncPage(msgspec.Struct, omit_defaults=True):
    """On the inbox and from `GET /v1/sync`: what was missed of one chat, in order.

    Attributes:
        next: ask again with this cursor.
        limited: whether more is waiting behind `next`.
        last: the chat's newest `seq` when the page was made.
    """

    chat: str
    events: list[Event]
    next: int
    limited: bool
    last: int
    req: str | None = None
    type: str = always("sync")


class Reset(msgspec.Struct, omit_defaults=True):
    """On the inbox and from `GET /v1/sync`: the cursor can't be used (`unknown_chat`, `ahead`, `too_old`): forget the chat's local state and read anew."""

    chat: str
    reason: str
    req: str | None = None
    type: str = always("reset")


class SyncDone(msgspec.Struct, omit_defaults=True):
    """On the inbox: every cursor of one sync request has been answered with its first page or a reset."""

    req: str | None = None
    type: str = always("sync_done")


class Invitation(msgspec.Struct, omit_defaults=True):
    """On the inbox: the user has become a member of a chat."""

    chat: str
    kind: str
    by: str
    title: str | None = None
    type: str = always("invitation")


class Announcement(msgspec.Struct, omit_defaults=True):
    """On the inbox and from `GET /v1/announcements`: what administrators tell everybody. It may come twice, with the same id."""

    id: str
    text: str
    at: datetime
    type: str = always("announcement")


_encoder = msgspec.json.Encoder()
_send = msgspec.json.Decoder(_StrictSend)
_system = msgspec.json.Decoder(_ServiceSend)
_ack = msgspec.json.Decoder(Ack)
_sync = msgspec.json.Decoder(SyncRequest)


def encode(struct: msgspec.Struct) -> bytes:
    """The JSON of any envelope, UTF-8."""
    return _encoder.encode(struct)


def decode(payload: bytes, kind: type[T]) -> T:
    """Read an envelope that one of our own processes or the server wrote.

    Raises:
        InvalidEnvelope: not JSON, or not of that kind.
    """
    return _strict(msgspec.json.Decoder(kind), payload)


def read_send(payload: bytes, *, max_bytes: int = MAX_SEND_BYTES) -> Send:
    """Read what a client sent, strictly.

    Raises:
        TooLarge: more than `max_bytes`.
        InvalidEnvelope: `not_json`, or `invalid_envelope` with the field that is wrong.
        InvalidId: the id or target is no UUID.
    """
    if len(payload) > max_bytes:
        raise TooLarge(f"a message has at most {max_bytes} bytes, this one has {len(payload)}")
    send = _strict(_send, payload)
    send.id = check_message_id(send.id)
    if not _is_bare_text(send):
        _check_shape(send)
    return send


def read_system(payload: bytes) -> Send:
    """Read what one of our services tells a chat.

    Raises:
        InvalidEnvelope: not JSON, or neither a system event nor a deletion.
        InvalidId: the id or target is no UUID.
    """
    send = _strict(_system, payload)
    send.id = check_message_id(send.id)
    if (send.type == "system") != (send.system is not None):
        raise InvalidEnvelope("a system event says what has changed, and nothing else does")
    if send.type == "delete":
        _check_parts(send)
    return send


def read_ack(payload: bytes) -> Ack:
    """Read a receipt.

    Raises:
        InvalidEnvelope: not JSON, no watermark in it, or one below 0.
    """
    ack = _strict(_ack, payload)
    if ack.delivered is None and ack.seen is None:
        raise InvalidEnvelope("an ack names 'delivered', 'seen' or both")
    if min(ack.delivered or 0, ack.seen or 0) < 0:
        raise InvalidEnvelope("a watermark is a seq: 0 or more")
    return ack


def read_sync(payload: bytes) -> SyncRequest:
    """Read a request for what was missed.

    Raises:
        InvalidEnvelope: not JSON, or cursors or limit out of bounds.
    """
    request = _strict(_sync, payload)
    check_sync(request)
    return request


def check_sync(request: SyncRequest) -> None:
    """The bounds of a sync request, for MQTT and REST alike.

    Raises:
        InvalidEnvelope: too many cursors, a cursor below 0, or a limit out of 1..500.
    """
    if not 1 <= request.limit <= 500:
        raise InvalidEnvelope("'limit' is 1 to 500")
    if len(request.cursors) > 10 * MAX_TARGETS:
        raise InvalidEnvelope(f"at most {10 * MAX_TARGETS} cursors in one request")
    if any(cursor < 0 for cursor in request.cursors.values()):
        raise InvalidEnvelope("a cursor is a seq: 0 or more")


def wrap_plain(payload: bytes, *, ingest_id: str, content_type: str | None, max_bytes: int = MAX_SEND_BYTES) -> Send:
    """The message that a device means when it just publishes bytes.

    Text is kept as text (NUL and all); bytes that are not UTF-8 travel as base64. The id comes from the ingest id.

    Raises:
        TooLarge: more than `max_bytes`.
    """
    if len(payload) > max_bytes:
        raise TooLarge(f"a message has at most {max_bytes} bytes, this one has {len(payload)}")
    try:
        body = Body(data=payload.decode(), content_type=content_type or "text/plain")
    except UnicodeDecodeError:
        data = base64.b64encode(payload).decode()
        body = Body(data=data, content_type=content_type or "application/octet-stream", encoding="base64")
    return Send(id=message_id_from_ingest(ingest_id), body=body)


def _strict(decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise InvalidEnvelope(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEnvelope(f"the payload is not JSON: {type(error).__name__}", code="not_json") from None


def _is_bare_text(send: Send) -> bool:
    """Whether it is a text and nothing else, as nearly every message is: then no rule of `_check_shape` can be broken."""
    body = send.body
    return (
        body is not None
        and body.text is not None
        and body.attachment is body.data is body.cipher is body.emoji is body.encoding is None
        and send.type == "message"
        and send.target is send.reply_to is None
        and send.expires_in is None
        and send.system is None
        and not send.mentions
    )


def _check_shape(send: Send) -> None:
    """Rules between fields, which types alone can't say."""
    _check_parts(send)
    if send.system is not None:
        raise InvalidEnvelope("'system' is for services")
    if send.reply_to is not None:
        send.reply_to = check_message_id(send.reply_to)
    if len(send.mentions) > MAX_TARGETS:
        raise InvalidEnvelope(f"at most {MAX_TARGETS} mentions")
    if not all(map(is_principal, send.mentions)):
        raise InvalidEnvelope("'mentions' names users")
    if send.expires_in is not None and not 1 <= send.expires_in <= 365 * 86_400:
        raise InvalidEnvelope("'expires_in' is 1 second to 365 days, in seconds")


def _check_parts(send: Send) -> None:
    """Body and target, by type."""
    if send.type == "message":
        _check_body(send.body, "message", allowed=("text", "attachment", "data", "cipher"))
        if send.target is not None:
            raise InvalidEnvelope(
                "a message has no 'target'; answer another one with 'reply_to', pass it on with 'forward'"
            )
    else:
        if send.target is None:
            raise InvalidEnvelope(f"'{send.type}' needs the 'target' it is about")
        send.target = check_message_id(send.target)
        if send.type == "edit":
            _check_body(send.body, "edit", allowed=("text", "attachment", "data", "cipher"))
        elif send.type in ("reaction", "unreact"):
            _check_body(send.body, send.type, allowed=("emoji",))
        elif send.body is not None:
            raise InvalidEnvelope(f"'{send.type}' has no body")


def _check_body(body: Body | None, type_: str, *, allowed: tuple[str, ...]) -> None:
    if body is None or body.parts() != 1 or (body.emoji is not None) != ("emoji" in allowed):
        raise InvalidEnvelope(f"the body of '{type_}' holds exactly one of: {', '.join(allowed)}")
    if body.data is not None and _deeper(body.data, MAX_DEPTH):
        raise InvalidEnvelope(f"'data' nests more than {MAX_DEPTH} levels deep")
    if body.encoding is not None and not isinstance(body.data, str):
        raise InvalidEnvelope("'encoding' goes with 'data' as a string")


def _deeper(value: Any, levels: int) -> bool:
    """Whether JSON nests deeper than so many levels; walks level by level, so that no depth of it costs a stack."""
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inner = [one for outer in layer for one in (outer.values() if isinstance(outer, dict) else outer)]
        layer = [one for one in inner if isinstance(one, dict | list)]
        if not layer:
            return False
    return bool(layer)
