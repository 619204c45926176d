"""Cursors of lists: opaque to clients, so that what they hold may change."""

from __future__ import annotations

import base64
import binascii

from chat.errors import BadInput

MAX_CURSOR = 256


def pack(*parts: str | int) -> str:
    """A cursor that holds `parts`; none of them may hold a line feed."""
    return base64.urlsafe_b64encode("\n".join(map(str, parts)).encode()).decode().rstrip("=")


def unpack(cursor: str, count: int) -> list[str]:
    """The parts of a cursor.

    Raises:
        BadInput: `invalid_cursor`: this server did not make it.
    """
    try:
        parts = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode().split("\n")
    except (binascii.Error, ValueError):
        parts = []
    if len(parts) != count:
        raise invalid_cursor()
    return parts


def invalid_cursor() -> BadInput:
    """The answer to a cursor that this server did not make."""
    return BadInput("this cursor is none of ours: start without one", code="invalid_cursor")
