"""Receipt updates: watermarks that moved, told to the members on `chats/{chat}/receipts`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from bridge.claims import Key
from bridge.counts import Counts
from bridge.members import Members, Roster
from bridge.metrics import Metrics
from chat import topics
from chat.envelopes import Mark, ReceiptUpdate, encode
from chat.ports import Link, Parcel, Published
from chat.watermarks import Watermark

UNHEARD_EVERY = 2.0
"""Seconds between updates of a chat as long as nobody hears them; whoever subscribes hears what has gathered with the next one."""

_NOBODY = 0x10
"""Reason code of a PUBACK: no matching subscribers (5.0 §3.4.2.1)."""


class ReceiptUpdates:
    """What is new, per chat, until the broker has taken it.

    Names or counts: in a chat of up to `named` people the marks are by name; where one of them hides what they have seen, the topic that all
    of them read tells what was delivered only, and what was seen goes to the inboxes of those who show it themselves. Larger chats get
    counts.

    A mark holds what this bridge knows to be stored. Another bridge may know more (the broker's reports go to one of them), so
    receivers take the maximum of what they have and what they get; a watermark never falls (P6).

    Args:
        link: to the broker.
        members: the rosters.
        counts: for large chats.
        named: chats of up to so many people see names, larger ones counts.
        now: the wall clock, UTC.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        link: Link,
        members: Members,
        metrics: Metrics,
        *,
        counts: Counts,
        named: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._members = members
        self._metrics = metrics
        self._named = named
        self._counts = counts
        self._now = now
        self._clock = clock
        self._unheard: dict[str, float] = {}
        self._news: defaultdict[str, dict[str, Watermark]] = defaultdict(dict)

    def __bool__(self) -> bool:
        return bool(self._news or self._counts)

    def large(self, roster: Roster) -> bool:
        """Whether nobody is named in this chat."""
        return len(roster.people) > self._named

    def add(self, key: Key, mark: Watermark, *, large: bool) -> None:
        """A watermark was stored; `large`: of a large chat."""
        chat, user = key
        if large:
            self._counts.add(chat, mark.delivered)
            return
        known = self._news[chat].get(user)
        if known is not None:
            mark = Watermark(delivered=max(known.delivered, mark.delivered), seen=max(known.seen, mark.seen))
        self._news[chat][user] = mark

    async def publish(self) -> None:
        """Tell what is new; what the broker does not take stays for the next time.

        Raises:
            Unavailable: the store does not answer (for rosters that are no longer in memory, and for counts).
        """
        if not self or not self._link.connected:
            return
        due = self._due()
        rosters = await self._members.rosters(due)
        counted = await self._counts.take()
        parcels: list[Parcel] = [(topics.receipts(chat), encode(update), None) for chat, update in counted.items()]
        whose = [(chat, partial(self._counts.add, chat, update.seq or 0)) for chat, update in counted.items()]
        for chat in due:
            marks, roster = self._news.pop(chat), rosters.get(chat)
            if roster is not None:
                updates = self._named_marks(chat, marks, roster)
                parcels += [(topic, encode(update), None) for topic, update in updates]
                whose += [(chat, partial(self._add_all, chat, marks))] * len(updates)
        if parcels:
            self._settle(whose, await self._link.publish_all(parcels))

    def _settle(self, whose: Sequence[tuple[str, Callable[[], None]]], answers: Sequence[Published | None]) -> None:
        """What the broker has not taken is news again; and note where nobody listens.

        Args:
            whose: per answer, the chat, and what makes it news again.
        """
        heard: set[str] = set()
        for (chat, again), answer in zip(whose, answers, strict=True):
            if answer is None:
                again()
                heard.add(chat)
                continue
            self._metrics.receipt_updates.inc()
            if answer.reason_code != _NOBODY:
                heard.add(chat)
        now = self._clock()
        self._unheard |= {chat: now for chat, _ in whose if chat not in heard}

    def _due(self) -> list[str]:
        """The chats in which something is told now."""
        since = self._clock() - UNHEARD_EVERY
        self._unheard = {chat: at for chat, at in self._unheard.items() if at > since}
        return [chat for chat in self._news if chat not in self._unheard]

    def _add_all(self, chat: str, marks: dict[str, Watermark]) -> None:
        for user, mark in marks.items():
            self.add((chat, user), mark, large=False)

    def _named_marks(self, chat: str, marks: dict[str, Watermark], roster: Roster) -> list[tuple[str, ReceiptUpdate]]:
        """What is published where: to all of them, or by how much each of them may know."""
        at = self._now()
        showing = [user for user in roster.people if not roster.hides_seen(user)]
        if len(showing) == len(roster.people):
            rows = [Mark(user, mark.delivered, mark.seen) for user, mark in marks.items()]
            return [(topics.receipts(chat), ReceiptUpdate(chat=chat, at=at, marks=rows))]
        rows = [Mark(user, mark.delivered, 0) for user, mark in marks.items()]
        updates = [(topics.receipts(chat), ReceiptUpdate(chat=chat, at=at, marks=rows))]
        shown = set(showing)
        seen = [Mark(user, mark.delivered, mark.seen) for user, mark in marks.items() if mark.seen and user in shown]
        if seen and len(showing) > 1:
            update = ReceiptUpdate(chat=chat, at=at, marks=seen)
            updates += [(topics.inbox(user), update) for user in showing]
        return updates
