"""What the routes about blocks answer."""

from __future__ import annotations

from datetime import datetime

import msgspec


class BlockView(msgspec.Struct):
    """Somebody from whom I want to hear nothing."""

    user: str
    at: datetime


class BlockPage(msgspec.Struct):
    """Whom I have blocked, by id. `next`: pass it as `after` for more; null at the end."""

    items: list[BlockView]
    next: str | None


BLOCKS_EXAMPLE = {"items": [{"user": "mori", "at": "2026-05-04T03:02:01.123000Z"}], "next": None}
