"""From what arrived to what it says."""

from __future__ import annotations

from dataclasses import dataclass

from bridge.gather import Arrival
from chat.envelopes import Send, read_send, wrap_plain
from chat.errors import InvalidEnvelope
from chat.plain import is_plain

INGEST = "ingest"
"""The user property in which the broker passes on the ingest id."""


@dataclass(slots=True)
class Draft:
    """A message that could be read."""

    arrival: Arrival
    send: Send


def read(arrival: Arrival, *, max_bytes: int) -> Draft:
    """Read one arrival strictly, or wrap it when it is plain.

    Raises:
        BadInput: it can't be read, is too large, or is plain and came without the ingest id that would give it its own id.
    """
    delivery = arrival.delivery
    if not is_plain(arrival.sender, delivery.payload, delivery.content_type):
        return Draft(arrival, read_send(delivery.payload, max_bytes=max_bytes))
    ingest_id = delivery.properties.get(INGEST)
    if ingest_id is None:
        raise InvalidEnvelope("a plain payload came without an ingest id, so it would get a new id with every resend")
    send = wrap_plain(delivery.payload, ingest_id=ingest_id, content_type=delivery.content_type, max_bytes=max_bytes)
    return Draft(arrival, send)
