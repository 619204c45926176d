"""Who gets a push, and of which message. Pure: facts in, decisions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chat.envelopes import Event
from chat.ids import is_device, is_service
from chat.models import Member, PushToken
from chat.push_preferences import PushPreferences
from chat.pushes import Marked, Rule


@dataclass(frozen=True, slots=True)
class Recipient:
    """A member of a chat, and everything that decides about their pushes.

    Attributes:
        tokens: their installations.
        suspended: an administrator keeps them out.
        blocked: those of the senders whom they have blocked.
    """

    member: Member
    preferences: PushPreferences
    tokens: Sequence[PushToken] = ()
    suspended: bool = False
    blocked: frozenset[str] = frozenset()


@dataclass(slots=True)
class Choice:
    """What becomes of the messages of a chat for one member.

    Attributes:
        push: the newest that they are to be pushed.
        suppressed: the others that they are no push for, with the rule; messages that do not concern them are in neither.
    """

    push: Marked | None = None
    suppressed: list[tuple[Event, Rule]] = field(default_factory=list)


def pointless(event: Event, *, now: datetime) -> Rule | None:
    """Why nobody is pushed for `event`; None when somebody may be."""
    if event.type != "message":
        return Rule.NOT_A_MESSAGE
    if event.deleted_at is not None:
        return Rule.DELETED
    if event.expires_at is not None and event.expires_at <= now:
        return Rule.EXPIRED
    return None


def is_person(member: Member) -> bool:
    """Whether somebody is there who could look at a screen."""
    return member.left_at is None and not is_device(member.user) and not is_service(member.user)


def concerns(event: Event, member: Member) -> bool:
    """Whether a message is news to a member: not their own, and not from before they joined (that is in the history)."""
    return event.sender != member.user and member.joined_seq < event.seq


def suppressed_by(event: Event, recipient: Recipient, *, now: datetime) -> Rule | None:
    """The first rule that keeps a member from being pushed a message that concerns them; None when they are pushed."""
    member, preferences = recipient.member, recipient.preferences
    if recipient.suspended:
        return Rule.SUSPENDED
    if not recipient.tokens:
        return Rule.NO_TOKEN
    if max(member.delivered_seq, member.seen_seq) >= event.seq:
        return Rule.DELIVERED
    if event.sender in recipient.blocked:
        return Rule.BLOCKED
    muted = member.muted_until is not None and member.muted_until > now
    if muted and not (preferences.mentions and member.user in event.mentions):
        return Rule.MUTED
    if preferences.quiet is not None and preferences.quiet.holds(now):
        return Rule.QUIET
    return None


def choose(events: Sequence[Marked], recipient: Recipient, *, now: datetime) -> Choice:
    """The one message of a chat that a member is pushed: the newest that no rule keeps from them; it stands for the older ones too.

    Args:
        events: the newest first.
    """
    choice = Choice()
    for marked in events:
        event = marked.event
        if not concerns(event, recipient.member):
            continue
        rule = Rule.SUPERSEDED if choice.push is not None else suppressed_by(event, recipient, now=now)
        if rule is None:
            choice.push = marked
        else:
            choice.suppressed.append((event, rule))
    return choice


def grace_ends(event: Event, grace: timedelta) -> datetime:
    """Until when somebody who looks connected may still get an event over MQTT.

    "Connected" can be a phone that has just lost its network, or went while the message was on its way. Within the grace such a
    recipient is neither pushed nor forgotten; after it, one who still has not acknowledged the event is pushed like the others.
    """
    return event.at + grace
