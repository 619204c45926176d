"""Who gets a push. Pure: facts in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum

from chat.envelopes import Event
from chat.ids import is_device, is_service
from chat.models import Member


class Pointless(StrEnum):
    """Why an event is pushed to nobody."""

    NOT_A_MESSAGE = "not_a_message"
    """Edits, reactions and system events change what is there; nobody is woken for them."""
    DELETED = "deleted"
    EXPIRED = "expired"
    """Its sender wanted it gone by now."""
    TOO_OLD = "too_old"
    """Provider or workers were away for so long that it would be news of yesterday."""


def pointless(event: Event, *, now: datetime, max_age: timedelta) -> Pointless | None:
    """Why nobody is to be pushed for `event`; None when somebody may."""
    if event.type != "message":
        return Pointless.NOT_A_MESSAGE
    if event.deleted_at is not None:
        return Pointless.DELETED
    if event.expires_at is not None and event.expires_at <= now:
        return Pointless.EXPIRED
    if now - event.at > max_age:
        return Pointless.TOO_OLD
    return None


def recipients(event: Event, members: Iterable[Member], *, now: datetime) -> list[str]:
    """The users among `members` who have to learn of `event`, in the order of `members`.

    Those who have it need no push, and those who joined after it find it in the history.
    """
    return [member.user for member in members if _waits_for(event, member, now)]


def must_wait(event: Event, *, now: datetime, grace: timedelta) -> bool:
    """Whether recipients who look connected may still get `event` over MQTT.

    "Connected" can be a phone that has just lost its network, or went while the message was on its way. Within the grace such a
    recipient is neither pushed nor forgotten; after it, one who still has not acknowledged the event is pushed like the others.
    """
    return now - event.at < grace


def _waits_for(event: Event, member: Member, now: datetime) -> bool:
    if member.left_at is not None or member.user == event.sender:
        return False
    if is_device(member.user) or is_service(member.user):
        return False
    if member.joined_seq >= event.seq or member.delivered_seq >= event.seq:
        return False
    return member.muted_until is None or member.muted_until <= now
