"""Delivery receipts without code in the client: a subscriber's PUBACK of a marked message is a *delivered* watermark.

The bridge puts `mark = seq` on what it fans out. Marks are coalesced: per (chat, principal) the highest one, told to the
bridge on `$events/delivered` once per interval.
"""

from __future__ import annotations

import asyncio

import msgspec

from broker.core import Core
from broker.router import Router
from chat import topics
from chat.envelopes import Delivered, DeliveredMark
from mqtt.messages import Message

INTERVAL = 0.2
"""Seconds that marks are collected: a burst of messages is one row per member."""

BATCH = 2_000
"""Marks per event: about 100 KB of JSON."""

WATCHED = 64
"""Messages at a time of which it is timed how long their receivers take: every one of a quiet broker, a sample of a busy one."""

WATCH_SECONDS = 10.0
"""Who has not acknowledged by then was away: how long somebody is away is no latency."""


class Marks:
    """Collects the acknowledgements of marked messages."""

    def __init__(self, core: Core, router: Router) -> None:
        self._core = core
        self._router = router
        self._highest: dict[tuple[str, str], int] = {}
        self._scheduled = False
        # By the identity of the message, which the value keeps alive (until the next one comes: no more than so many); oldest first.
        self._watched: dict[int, tuple[Message, float]] = {}
        self._room_at = 0.0

    def watch(self, message: Message) -> None:
        """A marked message is on its way to its receivers: time it, if there is room."""
        now, watched = self._core.now, self._watched
        if now < self._room_at:
            return
        while watched and now - self._oldest() >= WATCH_SECONDS:
            del watched[next(iter(watched))]
        watched[id(message)] = (message, now)
        if len(watched) == WATCHED:
            self._room_at = self._oldest() + WATCH_SECONDS

    def _oldest(self) -> float:
        return next(iter(self._watched.values()))[1]

    def note(self, message: Message, principal: str) -> None:
        """A client of `principal` has acknowledged a marked message."""
        watched = self._watched.get(id(message))
        if watched is not None:
            self._took(self._core.clock() - watched[1])
        mark = message.mark or 0
        key = (self._core.policy.scope(message.topic), principal)
        if mark > self._highest.get(key, 0):
            self._highest[key] = mark
            if not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_later(INTERVAL, self.flush)

    def _took(self, seconds: float) -> None:
        if seconds < WATCH_SECONDS:
            self._core.stats.to_receiver.observe(seconds)

    def flush(self) -> None:
        """Tell what was collected."""
        self._scheduled = False
        if not self._highest:
            return
        rows = [DeliveredMark(chat, user, seq) for (chat, user), seq in self._highest.items()]
        self._highest.clear()
        for start in range(0, len(rows), BATCH):
            payload = msgspec.json.encode(Delivered(rows[start : start + BATCH]))
            self._router.publish(Message(topics.event("delivered"), payload, qos=1))
