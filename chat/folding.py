"""Folding: what later events make of a message, from the events alone.

A *suffix* of a chat is every event from some `seq` to its newest one. Whatever edits, deletes, hides, pins or answers a message comes
after it, so for the messages of a suffix all of that is in the suffix. That is what makes a copy of one exact: events are never changed,
`rewrite`, `hide` and `pin` of the stores only save a reader from doing what `fold` does, and a suffix that ends with the chat's newest
event can't be missing anything. The same goes for reactions and answers. What is not an event, that a message expires, the clock tells.

The rules are those by which the bridge changes what is stored (`bridge/commit.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from chat.events import Event


class Reaction(msgspec.Struct, frozen=True):
    """How many people reacted to a message with this emoji, and whether its reader did."""

    emoji: str
    count: int
    mine: bool


@dataclass(slots=True)
class Echoes:
    """What came back to messages, by message id; without those that nothing came back to.

    Attributes:
        reactions: the most frequent first; of each person the newest one counts; `unreact` with that emoji, or an empty one, takes it back.
        replies: how many messages answer it, deleted ones included.
    """

    reactions: dict[str, list[Reaction]] = field(default_factory=dict)
    replies: dict[str, int] = field(default_factory=dict)


def expire(event: Event, now: datetime) -> None:
    """Take away what must not be shown any longer."""
    if event.expires_at is not None and event.expires_at <= now:
        _erase(event, event.expires_at)


def fold(events: Sequence[Event], now: datetime) -> None:
    """Bring the messages of a suffix up to date with the events behind them, in place; doing it again changes nothing.

    Args:
        events: as they are stored, in order of `seq`.
        now: for what has expired.
    """
    messages: dict[str, Event] = {}
    pinned: dict[str, datetime] = {}
    for event in events:
        expire(event, now)
        if event.type == "message":
            messages[event.id] = event
        elif event.target is not None and (target := messages.get(event.target)) is not None:
            _apply(event, target, pinned)


def _apply(event: Event, target: Event, pinned: dict[str, datetime]) -> None:
    # What only its sender may see changes nothing that others see, but for its purpose: to hide it from that sender.
    if event.only is not None and event.type != "hide" and target.only != event.sender:
        return
    match event.type:
        case "edit" if event.sender == target.sender and target.deleted_at is None and event.body is not None:
            if target.edited_at is None or target.edited_at <= event.at:
                target.body, target.edited_at = event.body, event.at
        case "delete" if target.deleted_at is None or event.at < target.deleted_at:
            _erase(target, event.at)
        case "hide" if event.sender not in target.hidden_by:
            target.hidden_by = [*target.hidden_by, event.sender]
        case "pin" | "unpin" if target.deleted_at is None and pinned.get(target.id, event.at) <= event.at:
            pinned[target.id] = event.at
            target.pinned_at = event.at if event.type == "pin" else None
        case _:
            pass


def _erase(event: Event, at: datetime) -> None:
    event.deleted_at, event.expires_at, event.body, event.pinned_at = at, None, None, None


def echoes(events: Iterable[Event], viewer: str) -> Echoes:
    """Reactions and answers among `events`, as `viewer` may know them: what is somebody else's own does not count.

    Args:
        events: what is folded.
    """
    newest: dict[tuple[str, str], str] = {}
    found = Echoes()
    for event in events:
        if event.only not in (None, viewer):
            continue
        if event.type in ("reaction", "unreact") and event.target is not None:
            key, emoji = (event.target, event.sender), (event.body.emoji or "" if event.body is not None else "")
            if event.type == "reaction":
                newest[key] = emoji
            elif newest.get(key) == emoji:
                newest[key] = ""
        elif event.type == "message" and event.reply_to is not None:
            found.replies[event.reply_to] = found.replies.get(event.reply_to, 0) + 1
    counts: dict[str, dict[str, list[str]]] = {}
    for (target, sender), emoji in newest.items():
        if emoji:
            counts.setdefault(target, {}).setdefault(emoji, []).append(sender)
    for target, by_emoji in counts.items():
        rows = [Reaction(emoji, len(who), viewer in who) for emoji, who in by_emoji.items()]
        found.reactions[target] = ranked(rows)
    return found


def ranked(reactions: Iterable[Reaction]) -> list[Reaction]:
    """In the order in which they are shown."""
    return sorted(reactions, key=lambda one: (-one.count, one.emoji))


def conceal(edit: Event, target: Event, viewer: str) -> None:
    """Take the words out of an edit whose message is deleted, or hidden by its reader, in place: they are the message's own."""
    if target.deleted_at is not None:
        _erase(edit, target.deleted_at)
    elif viewer in target.hidden_by:
        edit.body, edit.mentions, edit.hidden = None, [], True
