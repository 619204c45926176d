"""Dead letters that are pushes: sent off again by giving their message its mark back, which is what makes a push certain."""

from __future__ import annotations

from typing import Any

import msgspec

from api.clock import now
from chat.envelopes import Event
from chat.errors import NotFound
from chat.models import DeadLetter
from chat.ports import MessageStore


def pushed_message(letter: DeadLetter) -> str | None:
    """The id of the message that a letter is a push of; None for other letters."""
    if letter.properties.get("job") != "push":
        return None
    try:
        about = msgspec.json.decode(letter.payload, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    found = about.get("message_id")
    return found if isinstance(found, str) else None


async def push_again(messages: MessageStore, message_id: str) -> Event:
    """Mark the message; the workers' sweeper finds it within a minute. Whoever was pushed it is not pushed it twice.

    Raises:
        NotFound: `unknown_message`: it is gone.
    """
    event = (await messages.by_ids([message_id])).get(message_id)
    if event is None or not await messages.push_again(message_id, now()):
        raise NotFound("the message of this push is gone: the letter can only be dropped", code="unknown_message")
    return event
