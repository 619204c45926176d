"""Signals: what our processes tell each other, on `$events/…` and over Valkey."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class DeliveredMark(msgspec.Struct, array_like=True):
    """One row of `$events/delivered`: `user` has acknowledged every event of `chat` up to `seq` that it was sent."""

    chat: str
    user: str
    seq: int


class Delivered(msgspec.Struct):
    """`$events/delivered`: what subscribers acknowledged since the last one, coalesced by the broker."""

    marks: list[DeliveredMark]


class Connection(msgspec.Struct, omit_defaults=True):
    """`$events/connected` and `$events/disconnected`. `online`: how many connections the principal has left."""

    principal: str
    client_id: str
    online: int
    at: datetime


class Invalidation(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """On Valkey: a decision that somebody may have cached is no longer true.

    Attributes:
        kind: `member` (chat, user: membership or role changed), `grant` (sid: a sign-in ended), `principal` (user: banned, deleted or a device's secret changed),
            `relation` (user: somebody has blocked or unblocked them, so what they may see of people has changed).
    """

    kind: Literal["member", "grant", "principal", "relation"]
    chat: str | None = None
    user: str | None = None
    sid: str | None = None
