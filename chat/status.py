"""What became of a message, for its sender: SENT, DELIVERED or SEEN, and when.

Nothing of it is stored per message: the status follows from the watermarks of the members, the times from the log of their moves.
Those who count are the *other present members who are people and joined before the message*: a device reads nothing, and who
came later or has left can't hold a message back. Where nobody counts, a message is SENT.

In large chats nobody's moves are logged, but when *everybody* had come how far (`EVERYBODY`): so the times are known there too, to a few
seconds. A chat that grows or shrinks has rows of both kinds, and the earlier one tells.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import attrgetter

from chat.envelopes import Event
from chat.ids import is_device
from chat.models import EVERYBODY, Member, Receipt
from chat.watermarks import Watermark, slowest


class Status(StrEnum):
    """How far a message has come with *all* of those who count."""

    SENT = "SENT"
    DELIVERED = "DELIVERED"
    SEEN = "SEEN"


@dataclass(frozen=True, slots=True)
class Progress:
    """A message's status, and when the last of those who count received and saw it.

    A time is None before that has happened, and when the log no longer (or not yet) tells.
    """

    status: Status
    delivered_at: datetime | None = None
    seen_at: datetime | None = None


class Audience:
    """The members of one chat, as those who may hold a message's status back.

    Args:
        members: the present members.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        people = sorted((m for m in members if not is_device(m.user)), key=lambda m: m.joined_seq)
        self._people = people
        self._joined = [member.joined_seq for member in people]
        # Who counts depends on the sender and on how many had joined: few combinations for the events of a page.
        self._known: dict[tuple[str, int], tuple[list[str], Watermark]] = {}

    def of(self, event: Event) -> list[str]:
        """The users who count for `event`."""
        return self.counted(event)[0]

    def status(self, event: Event) -> Status:
        """How far `event` has come."""
        return _status(self.counted(event)[1], event.seq)

    def counted(self, event: Event) -> tuple[list[str], Watermark]:
        """The users who count for `event` (one list for all events for which they are the same), and the slowest of them."""
        earlier = bisect_left(self._joined, event.seq)  # had joined before: `joined_seq < seq`
        known = self._known.get((event.sender, earlier))
        if known is None:
            counted = [m for m in self._people[:earlier] if m.user != event.sender]
            mark = slowest([Watermark(delivered=max(m.delivered_seq, m.seen_seq), seen=m.seen_seq) for m in counted])
            known = self._known[event.sender, earlier] = [m.user for m in counted], mark
        return known


def progress(events: Sequence[Event], audience: Audience, receipts: Sequence[Receipt]) -> list[Progress]:
    """The progress of each event.

    Args:
        events: of one chat, in order of `seq`.
        receipts: what `ReceiptStore.reached` tells of the range of `events`.
    """
    log = Log(receipts)
    found: list[Progress] = []
    alike: dict[
        tuple[int, Status], Progress
    ] = {}  # by list of users and status, as long as no move lies between events
    for event in reversed(events):
        users, slowest_mark = audience.counted(event)
        status = _status(slowest_mark, event.seq)
        if status is not Status.SENT and log.down_to(event.seq):
            alike.clear()
        known = alike.get((id(users), status))
        if known is None:
            known = alike[id(users), status] = _progress(status, users, log)
        found.append(known)
    found.reverse()
    return found


def _status(mark: Watermark, seq: int) -> Status:
    if mark.seen >= seq:
        return Status.SEEN
    return Status.DELIVERED if mark.delivered >= seq else Status.SENT


def _progress(status: Status, users: Sequence[str], log: Log) -> Progress:
    if status is Status.SENT:
        return _SENT
    return Progress(status, log.last_delivered(users), log.last_seen(users) if status is Status.SEEN else None)


_SENT = Progress(Status.SENT)
_NEVER = datetime.max.replace(tzinfo=UTC)


class Log:
    """When the users had come how far: the moves, read backwards down to one place after another.

    At any place the first move of a user at or behind it is when they reached it. Read backwards, that is the one that was read last; so a
    page costs its moves and its events, and not the product of its events and members.

    Args:
        receipts: what `ReceiptStore.reached` tells.
    """

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._unread = sorted(receipts, key=attrgetter("seq"))
        self._delivered: dict[str, datetime] = {}
        self._seen: dict[str, datetime] = {}
        self._received: dict[str, datetime] = {}  # the earlier of the two: what was seen was delivered

    def down_to(self, seq: int) -> bool:
        """Go to a place; never to one behind the last.

        Returns:
            whether there was a move on the way.
        """
        before = len(self._unread)
        while self._unread and self._unread[-1].seq >= seq:
            move = self._unread.pop()
            (self._seen if move.kind == "seen" else self._delivered)[move.user] = move.at
            known = self._delivered.get(move.user, _NEVER), self._seen.get(move.user, _NEVER)
            self._received[move.user] = min(known)
        return len(self._unread) < before

    def last_delivered(self, users: Sequence[str]) -> datetime | None:
        """When the last of `users` had received what is here; what was seen was delivered, even if only the sight was logged."""
        return _last(self._received, users)

    def last_seen(self, users: Sequence[str]) -> datetime | None:
        """When the last of `users` had seen what is here."""
        return _last(self._seen, users)


def _last(times: Mapping[str, datetime], users: Sequence[str]) -> datetime | None:
    """The latest of the users' times, unless everybody was there before."""
    if not users:
        return None
    last = min(max([times.get(user, _NEVER) for user in users]), times.get(EVERYBODY, _NEVER))
    return None if last is _NEVER else last
