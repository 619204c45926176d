"""Views: what one reader sees of a stored event. Whoever hands an event to somebody asks here.

Two things are not for everybody. An event may be one user's own (`Event.only`): that they have hidden a message from themselves, and
whatever somebody sends who is shadow-banned. It has its `seq` as every event, so that the order stays dense (P3), and everybody else
sees a `void` there. And a message may be hidden by some (`Event.hidden_by`): these see that it is there, and no body.
"""

from __future__ import annotations

from msgspec.structs import replace

from chat.events import Event

VOID_SENDER = "svc-bridge"
"""Whose a `void` is."""


def void_of(event: Event) -> Event:
    """The slot of an event, without anything of it but its place."""
    return Event("void", event.id, event.chat, event.seq, event.n, VOID_SENDER, event.at)


def for_all(event: Event) -> Event:
    """What goes to `chats/{chat}/messages`, where every member reads it."""
    if event.only is not None:
        return void_of(event)
    return replace(event, hidden_by=[]) if event.hidden_by else event


def seen_by(event: Event, user: str) -> Event:
    """What `user`, a present member of its chat, sees of an event."""
    if event.only is None and not event.hidden_by:
        return event
    if event.only not in (None, user):
        return void_of(event)
    if user not in event.hidden_by:
        return replace(event, only=None, hidden_by=[])
    return without_words(event)


def caught_up(event: Event, user: str, cleared: int) -> Event:
    """What `user` sees of an event when they catch up.

    Args:
        cleared: up to where they have cleared the chat for themselves: of those events they see that they are there, so that no `seq` is
            missing, and no body.
    """
    seen = seen_by(event, user)
    return without_words(seen) if event.seq <= cleared and seen.type != "void" else seen


def without_words(event: Event) -> Event:
    """An event that its reader has hidden, or cleared: that it is there."""
    return replace(event, only=None, hidden_by=[], body=None, forwarded=None, mentions=[], hidden=True)
