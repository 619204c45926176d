"""What became of a message, for its sender: SENT, DELIVERED or SEEN, and when.

Nothing of it is stored per message: the status follows from the watermarks of the members, the times from the log of their moves.
Those who count are the *other present members who are people and joined before the message*: a device reads nothing, and who
came later or has left can't hold a message back. Where nobody counts, a message is SENT.

In large chats nobody's moves are logged, but when *everybody* had come how far (`EVERYBODY`): so the times are known there too, to a few
seconds. A chat that grows or shrinks has rows of both kinds, and the earlier one tells.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

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
        self._slowest: dict[tuple[str, int], Watermark] = {}

    def of(self, event: Event) -> list[str]:
        """The users who count for `event`."""
        return [m.user for m in self._people[: self._earlier(event)] if m.user != event.sender]

    def status(self, event: Event) -> Status:
        """How far `event` has come."""
        earlier = self._earlier(event)
        mark = self._slowest.get((event.sender, earlier))
        if mark is None:
            counted = [m for m in self._people[:earlier] if m.user != event.sender]
            mark = slowest([Watermark(delivered=max(m.delivered_seq, m.seen_seq), seen=m.seen_seq) for m in counted])
            self._slowest[event.sender, earlier] = mark
        if mark.seen >= event.seq:
            return Status.SEEN
        return Status.DELIVERED if mark.delivered >= event.seq else Status.SENT

    def _earlier(self, event: Event) -> int:
        """How many had joined before `event`: `joined_seq < seq`."""
        return bisect_left(self._joined, event.seq)


def progress(events: Sequence[Event], audience: Audience, receipts: Sequence[Receipt]) -> list[Progress]:
    """The progress of each event.

    Args:
        events: of one chat.
        receipts: what `ReceiptStore.reached` tells of the range of `events`, by `seq`.
    """
    log = Log(receipts)
    found: list[Progress] = []
    for event in events:
        status = audience.status(event)
        users = audience.of(event) if status is not Status.SENT else []
        found.append(
            Progress(
                status=status,
                delivered_at=log.last_delivered(users, event.seq),
                seen_at=log.last_seen(users, event.seq) if status is Status.SEEN else None,
            )
        )
    return found


class Log:
    """The moves per (user, kind): the first one at or behind a `seq` is when the user reached it."""

    def __init__(self, receipts: Sequence[Receipt]) -> None:
        self._seqs: dict[tuple[str, str], list[int]] = {}
        self._times: dict[tuple[str, str], list[datetime]] = {}
        for receipt in receipts:
            self._seqs.setdefault((receipt.user, receipt.kind), []).append(receipt.seq)
            self._times.setdefault((receipt.user, receipt.kind), []).append(receipt.at)

    def last_delivered(self, users: Sequence[str], seq: int) -> datetime | None:
        """When the last of `users` had received `seq`; what was seen was delivered, even if only the sight was logged."""
        times: list[datetime] = []
        for user in users:
            known = [at for at in (self._at(user, "delivered", seq), self._at(user, "seen", seq)) if at is not None]
            if not known:
                return None
            times.append(min(known))
        return max(times, default=None)

    def last_seen(self, users: Sequence[str], seq: int) -> datetime | None:
        """When the last of `users` had seen `seq`."""
        times = [self._at(user, "seen", seq) for user in users]
        known = [at for at in times if at is not None]
        return max(known, default=None) if len(known) == len(times) else None

    def _at(self, user: str, kind: str, seq: int) -> datetime | None:
        known = [at for at in (self._first(user, kind, seq), self._first(EVERYBODY, kind, seq)) if at is not None]
        return min(known, default=None)

    def _first(self, user: str, kind: str, seq: int) -> datetime | None:
        seqs = self._seqs.get((user, kind), [])
        place = bisect_left(seqs, seq)
        return self._times[user, kind][place] if place < len(seqs) else None
