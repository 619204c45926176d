"""Who may change what: whoever edits, deletes, hides, pins, answers or forwards names a target, and the target decides."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from chat import permissions
from chat.envelopes import Event, Send
from chat.errors import Forbidden, NotFound, PabalError, Refused
from chat.ids import is_direct_chat, is_service
from chat.models import Role


@dataclass(frozen=True, slots=True)
class Target:
    """The message that something is about.

    Attributes:
        at: when it was stored; None for one of the same batch: now.
        only: the one who may see it; None for everybody.
    """

    chat: str
    sender: str
    type: str
    deleted: bool = False
    at: datetime | None = None
    only: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who wants to do something, and where.

    Attributes:
        role: in that chat; None when they are not in it.
    """

    user: str
    chat: str
    role: Role | None


def target_of(event: Event) -> Target:
    """A stored event as a target."""
    return Target(event.chat, event.sender, event.type, event.deleted_at is not None, event.at, event.only)


def unknown_target(type_: str) -> NotFound:
    """The one answer for what is not there, is elsewhere, or is not for the sender's eyes."""
    return NotFound(f"the target of this {type_} is no message of this chat", code="unknown_target")


def refusal(
    send: Send, actor: Actor, target: Target | None, *, now: datetime, ages: permissions.Ages
) -> PabalError | None:
    """Why `send` may not be done to `target`; None if it may.

    The target must be a message of the same chat; what is in another chat looks as if it were not there. A deleted message stays as it
    is, but deleting or hiding it again, or taking something from it, is no error: the wish is fulfilled.
    """
    if target is None or target.chat != actor.chat or target.type != "message":
        return unknown_target(send.type)
    if target.only not in (None, actor.user):
        return unknown_target(send.type)
    error = _without_right(send.type, actor, target)
    if error is not None:
        return error
    if not permissions.takes(send.type, deleted=target.deleted):
        return Refused("the message has been deleted", code="target_deleted")
    age = now - target.at if target.at is not None else timedelta()
    moderates = send.type == "delete" and (actor.role in permissions.MANAGERS or is_service(actor.user))
    if not moderates and permissions.too_old(send.type, age, ages):
        return Refused(f"the message is too old for this {send.type}", code="too_old")
    return None


def _without_right(type_: str, actor: Actor, target: Target) -> Forbidden | None:
    if type_ == "edit" and not permissions.may_edit(actor.user, target.sender):
        return Forbidden("only its own sender may edit a message", code="not_yours")
    if type_ == "delete" and not permissions.may_delete(actor.user, target.sender, actor.role):
        return Forbidden("only its own sender, and who manages the chat, may delete a message", code="not_yours")
    if type_ in ("pin", "unpin") and not permissions.may_pin(actor.role, direct=is_direct_chat(actor.chat)):
        return Forbidden("only the owner and admins pin messages in a group", code="not_a_manager")
    return None


def answers_nothing(target: Target | None, actor: Actor) -> NotFound | None:
    """Why `reply_to` can't be that; None if it can. A deleted message may still be answered: its place is there."""
    if target is None or (target.chat, target.type) != (actor.chat, "message"):
        return unknown_target("reply")
    return unknown_target("reply") if target.only not in (None, actor.user) else None
