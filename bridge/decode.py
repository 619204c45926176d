"""From what arrived to what it says, and to the event that it becomes."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from bridge.gather import Arrival
from bridge.members import Roster
from chat.envelopes import Send, read_send, read_system, wrap_plain
from chat.errors import InvalidEnvelope
from chat.events import Event, Forwarded
from chat.ids import DEVICE_PREFIX, SERVICE_PREFIX, is_service
from chat.plain import is_plain
from chat.services import INGEST

_NO_PEOPLE = (DEVICE_PREFIX, SERVICE_PREFIX)


class Draft(msgspec.Struct, gc=False):
    """A message that could be read.

    Attributes:
        forwarded: of a message that is forwarded: where it comes from.
        only: the one who alone is to see it; None for everybody.
    """

    arrival: Arrival
    send: Send
    forwarded: Forwarded | None = None
    only: str | None = None


def read(arrival: Arrival, *, max_bytes: int) -> Draft:
    """Read one arrival strictly, or wrap it when it is plain.

    Raises:
        BadInput: it can't be read, is too large, or is plain and came without the ingest id that would give it its own id.
    """
    delivery = arrival.delivery
    if delivery.content_type is None and not arrival.sender.startswith(_NO_PEOPLE):  # what nearly everything is
        send = read_send(delivery.payload, max_bytes=max_bytes)
        return Draft(arrival, send, only=arrival.sender if send.type == "hide" else None)
    if is_service(arrival.sender):
        return Draft(arrival, read_system(delivery.payload))
    if not is_plain(arrival.sender, delivery.payload, delivery.content_type):
        send = read_send(delivery.payload, max_bytes=max_bytes)
        return Draft(arrival, send, only=arrival.sender if send.type == "hide" else None)
    ingest_id = delivery.properties.get(INGEST)
    if ingest_id is None:
        raise InvalidEnvelope("a plain payload came without an ingest id, so it would get a new id with every resend")
    send = wrap_plain(delivery.payload, ingest_id=ingest_id, content_type=delivery.content_type, max_bytes=max_bytes)
    return Draft(arrival, send)


def event_of(draft: Draft, seq: int, n: int, at: datetime, roster: Roster | None) -> Event:
    """The event that a draft becomes in its slot. Of those whom it mentions, only who is there is called."""
    send = draft.send
    return Event(
        type=send.type,
        id=send.id,
        chat=draft.arrival.chat,
        seq=seq,
        n=n,
        sender=draft.arrival.sender,
        at=at,
        body=send.body,
        target=send.target,
        reply_to=send.reply_to,
        mentions=send.mentions and [user for user in send.mentions if roster is not None and user in roster],
        expires_at=None if send.expires_in is None else at + timedelta(seconds=send.expires_in),
        forwarded=draft.forwarded,
        system=send.system,
        only=draft.only,
    )
