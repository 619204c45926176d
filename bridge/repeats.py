"""What was stored lately, by message id: a repeat is recognised, and if it comes soon fanned out again without a query (P4).

The other way round it saves a query for nearly every message: an id that was made (UUIDv7 holds the time) since the oldest event
that is remembered, and is not remembered, has not been stored by this bridge. Should that be wrong, because a clock is or because
another bridge stored it, the unique `_id` finds the repeat; it costs a `void` in the slot that it was given.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from chat import views
from chat.envelopes import Event, encode
from chat.ids import made_at

MAX_EVENTS = 20_000
"""Ids remembered; the oldest go first. What is forgotten is found in the store."""

MAX_WHOLE = 2_000
MAX_BYTES = 16 * 1024 * 1024
"""Of those, the newest events kept whole, and the bytes of their payloads. Few on purpose: memory that a processor's cache does not hold
costs each new message about 7 % of its work (measured, with 20,000)."""

AHEAD = 1_000
"""Milliseconds that an id may come from the future; beyond them its maker's clock is not believed, and the store is asked."""


class Stored(msgspec.Struct, gc=False):
    """An event that is stored: what it takes to fan it out, and to tell whose it is. It holds no containers, so the garbage
    collector need not walk over the thousands that are remembered.

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
    """What was stored lately, bounded: the newest events whole, of those before them that they are stored.

    Args:
        max_events: remembered.
        max_whole: of those, kept whole.
        max_bytes: of their payloads.

    Attributes:
        get: asked for each message, so it is the dictionary's own: the event with an id; of one that is no longer kept whole, when it
            was stored; None if it is not remembered.
    """

    def __init__(self, *, max_events: int = MAX_EVENTS, max_whole: int = MAX_WHOLE, max_bytes: int = MAX_BYTES) -> None:
        self._max_events = max_events
        self._max_whole = min(max_whole, max_events)
        self._max_bytes = max_bytes
        self._events: OrderedDict[str, Stored | datetime] = OrderedDict()
        self._whole: deque[Stored] = deque()
        self._bytes = 0
        self.get: Callable[[str], Stored | datetime | None] = self._events.get
        self._since = 0.0
        self._forgotten: datetime | None = None
        self.start_anew()

    def start_anew(self) -> None:
        """From now on this bridge knows what is stored; before, others may have stored as well (the link was down)."""
        self.since = datetime.now(UTC).timestamp() * 1000

    @property
    def since(self) -> float:
        """Everything that this bridge has stored since then is remembered. Unix milliseconds."""
        forgotten, self._forgotten = self._forgotten, None
        if forgotten is not None:
            self._since = max(self._since, forgotten.timestamp() * 1000 + 1)
        return self._since

    @since.setter
    def since(self, unix_ms: float) -> None:
        self._since = unix_ms

    def add(self, stored: Iterable[Stored]) -> None:
        """Remember what a batch has stored; what is known already stays as it is."""
        events, whole = self._events, self._whole
        for event in stored:
            if event.id in events:
                continue
            events[event.id] = event
            whole.append(event)
            self._bytes += len(event.payload)
        self._forget()

    def _forget(self) -> None:
        """Back to the bounds: the oldest goes first. A batch is small beside them, so that they are passed for a moment only."""
        events, whole = self._events, self._whole
        while len(whole) > self._max_whole or self._bytes > self._max_bytes:
            oldest = whole.popleft()
            self._bytes -= len(oldest.payload)
            events[oldest.id] = oldest.at
        while len(events) > self._max_events:
            _, forgotten = events.popitem(last=False)
            at = forgotten if isinstance(forgotten, datetime) else forgotten.at
            self._forgotten = at if self._forgotten is None else max(self._forgotten, at)

    def new_between(self, now: float) -> tuple[str, str]:
        """An id that is not remembered, and was made between these two (see `chat.ids.made_between`), is new, as far as its time tells.

        Args:
            now: the wall clock, Unix milliseconds.
        """
        return made_at(self.since), made_at(now + AHEAD)
