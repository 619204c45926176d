"""What a store takes of an event, whichever store it is."""

from __future__ import annotations

from typing import Any

import msgspec

from chat.envelopes import Event
from chat.errors import BadInput

MAX_DEPTH = 100
"""How deep `data` may nest. Python's JSON readers stop near 1,000 levels, less the depth of the caller's stack: what one process
could just read, another might not, and one such message would break every page of history that it is on."""

MAX_INT = 2**63 - 1
"""BSON's integers end here."""

_encoder = msgspec.json.Encoder()


def unstorable(message_id: str, why: str) -> BadInput:
    """The refusal of one event, which makes a store refuse the batch that it is in."""
    return BadInput(f"message {message_id} can't be stored: {why}", code="unstorable")


def json_text(data: Any) -> str:
    """The JSON of a body's `data`.

    Raises:
        ValueError: it is no JSON, or nests deeper than `MAX_DEPTH`.
    """
    try:
        text = _encoder.encode(data).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"'data' is not JSON ({type(error).__name__})") from None
    # Counting brackets first spares nearly every message the walk: fewer of them than levels allowed can't be too deep.
    if text.count("[") + text.count("{") > MAX_DEPTH and _deeper(data, MAX_DEPTH):
        raise ValueError(f"'data' nests deeper than {MAX_DEPTH} levels")
    return text


def check(event: Event) -> None:
    """Refuse what MongoDB's documents can't hold, for a store that could.

    Raises:
        BadInput: `unstorable`.
    """
    body = event.body
    try:
        if body is not None:
            json_text(body.data)
        _encoder.encode(event)
    except ValueError as error:
        raise unstorable(event.id, str(error)) from None
    if body is not None and body.attachment is not None and (body.attachment.size or 0) > MAX_INT:
        raise unstorable(event.id, "the attachment's size is no 64-bit number")


def _deeper(data: Any, levels: int) -> bool:
    """Whether lists and objects nest deeper than `levels`; layer by layer, so that no input can exhaust the stack."""
    layer = [data] if isinstance(data, list | dict) else []
    for _ in range(levels):
        if not layer:
            return False
        layer = [
            child
            for item in layer
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, list | dict)
        ]
    return bool(layer)
