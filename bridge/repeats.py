"""What was stored lately, by message id: a repeat is recognised and fanned out again without a query (P4)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from chat import views
from chat.envelopes import Event, encode

MAX_EVENTS = 20_000
MAX_BYTES = 32 * 1024 * 1024
"""Events remembered, and the bytes of their payloads; the oldest go first. What is forgotten is found in the store."""


@dataclass(slots=True)
class Stored:
    """An event that is stored: what it takes to fan it out, and to tell whose it is.

    Attributes:
        payload: the event's JSON, as members receive it.
        repeat: it was stored before this batch.
        own: of an event that is for one user's eyes only: its JSON as that user receives it.
        to: that user.
    """

    id: str
    chat: str
    sender: str
    seq: int
    n: int
    type: str
    at: datetime
    payload: bytes
    repeat: bool = False
    own: bytes | None = None
    to: str | None = None

    @property
    def whole(self) -> bytes:
        """The event's JSON with everything that it says, whoever may see it."""
        return self.payload if self.own is None else self.own


def stored(event: Event, *, repeat: bool = False) -> Stored:
    """The record of a stored event."""
    payload = encode(views.for_all(event))
    own = None if event.only is None else encode(views.seen_by(event, event.only))
    return Stored(
        event.id, event.chat, event.sender, event.seq, event.n, event.type, event.at, payload, repeat, own, event.only
    )


class Recent:
    """The newest stored events, bounded."""

    def __init__(self, *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: OrderedDict[str, Stored] = OrderedDict()
        self._bytes = 0

    def add(self, event: Stored) -> None:
        """Remember an event; one that is known already stays as it is."""
        if event.id in self._events:
            return
        self._events[event.id] = event
        self._bytes += len(event.payload)
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            _, oldest = self._events.popitem(last=False)
            self._bytes -= len(oldest.payload)

    def get(self, message_id: str) -> Stored | None:
        """The event with this id, if it is remembered."""
        return self._events.get(message_id)
