"""Who may change what: edits, deletes and reactions name a target, and the target decides."""

from __future__ import annotations

from dataclasses import dataclass

from chat.envelopes import Event, Send
from chat.errors import Forbidden, NotFound, PabalError, Refused


@dataclass(frozen=True, slots=True)
class Target:
    """The message that an edit, delete or reaction is about."""

    chat: str
    sender: str
    type: str
    deleted: bool = False


def target_of(event: Event) -> Target:
    """A stored event as a target."""
    return Target(event.chat, event.sender, event.type, event.deleted_at is not None)


def refusal(send: Send, *, sender: str, chat: str, target: Target | None) -> PabalError | None:
    """Why `send` may not be done to `target`; None if it may.

    The target must be a message of the same chat; what is in another chat looks as if it were not there. Only its own sender edits or
    deletes a message. A deleted message stays as it is, but deleting it again is no error: the wish is fulfilled.
    """
    if target is None or target.chat != chat or target.type != "message":
        return NotFound(f"the target of this {send.type} is no message of this chat", code="unknown_target")
    if send.type != "reaction" and target.sender != sender:
        return Forbidden(f"only its own sender may {send.type} a message", code="not_yours")
    if target.deleted and send.type != "delete":
        return Refused("the message has been deleted", code="target_deleted")
    return None
