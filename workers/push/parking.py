"""Pushes that are given up: dead letters, which administrators can look at and send off again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import structlog

from chat import topics
from chat.envelopes import Event
from chat.models import DeadLetter, PushToken
from chat.ports import DeadLetterStore

_log = structlog.get_logger("push")


def letter_id(event: Event, token: PushToken | None = None) -> str:
    """The letter of what an event was for one token, or for everybody."""
    which = f":{hashlib.sha256(token.token.encode()).hexdigest()[:16]}" if token else ""
    return f"push:{event.id}{which}"


class Parking:
    """Puts pushes into dead letters, with ids only: the text is in the event, and the push token in its collection.

    A letter is also what says that a push was given up, until it is replayed or dropped: it is not tried again, whatever Valkey has forgotten.
    """

    def __init__(self, letters: DeadLetterStore, now: Callable[[], datetime]) -> None:
        self._letters = letters
        self._now = now

    async def park(self, event: Event, reason: str, *, tries: int, token: PushToken | None = None) -> None:
        """Park what an event was for one token, or for everybody. Take off marks afterwards, so that a crash in between parks it twice.

        Raises:
            Unavailable: Mongo does not answer.
        """
        about = {"message_id": event.id} | ({"user": token.user} if token else {})
        letter = DeadLetter(
            id=letter_id(event, token),
            topic=topics.messages(event.chat),
            payload=msgspec.json.encode(about),
            reason=reason,
            tries=tries,
            at=self._now(),
            properties={"job": "push"},
            kind="push",
            args=[event.id],
        )
        await self._letters.add(letter)
        _log.error("push.parked", message_id=event.id, chat=event.chat, reason=reason, tries=tries)

    async def parked(self, pushes: Sequence[tuple[Event, PushToken]]) -> set[str]:
        """The letters that there are of some pushes, by their ids.

        Raises:
            Unavailable: Mongo does not answer.
        """
        return await self._letters.among([letter_id(event, token) for event, token in pushes])
