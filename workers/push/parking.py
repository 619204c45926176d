"""Pushes that are given up: dead letters, which administrators can look at and send off again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog

from chat import topics
from chat.envelopes import Event
from chat.models import DeadLetter, PushToken
from chat.ports import DeadLetterStore

_log = structlog.get_logger("push")


class Parking:
    """Puts pushes into dead letters, with ids only: the text is in the event, and the push token in its collection."""

    def __init__(self, letters: DeadLetterStore, now: Callable[[], datetime]) -> None:
        self._letters = letters
        self._now = now

    async def park(self, event: Event, reason: str, *, tries: int, token: PushToken | None = None) -> None:
        """Park what an event was for one token, or for everybody. Take off marks afterwards, so that a crash in between parks it twice.

        Raises:
            Unavailable: Mongo does not answer.
        """
        which = f":{hashlib.sha256(token.token.encode()).hexdigest()[:16]}" if token else ""
        about = {"message_id": event.id} | ({"user": token.user} if token else {})
        letter = DeadLetter(
            id=f"push:{event.id}{which}",
            topic=topics.messages(event.chat),
            payload=msgspec.json.encode(about),
            reason=reason,
            tries=tries,
            at=self._now(),
            properties={"job": "push"},
        )
        await self._letters.add(letter)
        _log.error("push.parked", message_id=event.id, chat=event.chat, reason=reason, tries=tries)
