"""Events as documents, both ways. Written by hand: this runs once per message on the way in and on every page out.

The shape is at the head of `adapters.mongo.messages`. What is absent in the event is absent in the document.

`body.data` is any JSON, chosen by a client, and BSON can't hold all of that: numbers beyond 64 bits, keys with NUL, and objects
that look like BSON's own (`$ref`). So text stays text in `body.data`, and anything else is kept as JSON text in `body.data_json`,
which the database never looks into.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from adapters.mongo.client import Document, utc, utc_or_none
from adapters.storable import json_text
from chat.events import Attachment, Body, Event, Forwarded, System


def to_document(event: Event, *, push: bool) -> Document:
    """The document of an event.

    Args:
        event: to store; its times are cut to milliseconds by BSON.
        push: whether it gets a push mark.

    Raises:
        ValueError: `data` nests too deep.
    """
    document: Document = {
        "_id": event.id,
        "chat_id": event.chat,
        "seq": event.seq,
        "n": event.n,
        "type": event.type,
        "sender_id": event.sender,
        "created_at": event.at,
    }
    if event.body is not None:
        document["body"] = to_body(event.body)
    if event.target is not None:
        document["target"] = event.target
    if event.reply_to is not None:
        document["reply_to"] = event.reply_to
    if event.mentions:
        document["mentions"] = event.mentions
    if event.expires_at is not None:
        document["expires_at"] = event.expires_at
    if event.edited_at is not None:
        document["edited_at"] = event.edited_at
    if event.deleted_at is not None:
        document["deleted_at"] = event.deleted_at
    if event.trace_id is not None:
        document["trace_id"] = event.trace_id
    _add_rare(document, event)
    if push:
        document["push"] = event.at
    return document


def _add_rare(document: Document, event: Event) -> None:
    """What few events have."""
    if event.only is not None:
        document["only"] = event.only
    if event.forwarded is not None:
        document["forwarded"] = msgspec.structs.asdict(event.forwarded)
    if event.system is not None:
        document["system"] = msgspec.to_builtins(event.system)


def to_body(body: Body) -> Document:
    """The subdocument of a body.

    Raises:
        ValueError: `data` nests too deep.
    """
    document: Document = {}
    if body.text is not None:
        document["text"] = body.text
    if body.attachment is not None:
        document["attachment"] = msgspec.to_builtins(body.attachment)
    if isinstance(body.data, str):
        document["data"] = body.data
    elif body.data is not None:
        document["data_json"] = json_text(body.data)
    if body.content_type is not None:
        document["content_type"] = body.content_type
    if body.encoding is not None:
        document["encoding"] = body.encoding
    if body.cipher is not None:
        document["cipher"] = body.cipher
    if body.emoji is not None:
        document["emoji"] = body.emoji
    return document


def to_event(document: Document) -> Event:
    """The event of a document. One that has expired is shown as deleted, whether it has been erased yet or not."""
    body = document.get("body")
    expires_at = utc_or_none(document.get("expires_at"))
    deleted_at = utc_or_none(document.get("deleted_at"))
    pinned_at = utc_or_none(document.get("pinned_at"))
    forwarded, system = document.get("forwarded"), document.get("system")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        deleted_at, expires_at, body, pinned_at = expires_at, None, None, None
    return Event(
        type=document["type"],
        id=document["_id"],
        chat=document["chat_id"],
        seq=int(document["seq"]),  # beyond 32 bits BSON gives Int64, which msgspec refuses to encode
        n=int(document["n"]),
        sender=document["sender_id"],
        at=utc(document["created_at"]),
        body=None if body is None else _from_body(body),
        target=document.get("target"),
        reply_to=document.get("reply_to"),
        mentions=document.get("mentions", []),
        expires_at=expires_at,
        edited_at=utc_or_none(document.get("edited_at")),
        deleted_at=deleted_at,
        trace_id=document.get("trace_id"),
        forwarded=None if forwarded is None else Forwarded(**{**forwarded, "at": utc(forwarded["at"])}),
        system=None if system is None else System(**system),
        pinned_at=pinned_at,
        only=document.get("only"),
        hidden_by=document.get("hidden_by", []),
    )


def _from_body(document: Document) -> Body:
    attachment = document.get("attachment")
    if attachment is not None:
        size = attachment.get("size")
        attachment = Attachment(**{**attachment, "size": None if size is None else int(size)})
    text = document.get("data_json")
    return Body(
        text=document.get("text"),
        attachment=attachment,
        data=document.get("data") if text is None else msgspec.json.decode(text),
        content_type=document.get("content_type"),
        encoding=document.get("encoding"),
        cipher=document.get("cipher"),
        emoji=document.get("emoji"),
    )
