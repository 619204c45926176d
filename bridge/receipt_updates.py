"""Receipt updates: watermarks that moved, told to the members on `chats/{chat}/receipts`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

from bridge.claims import Key
from bridge.members import Members, Roster
from bridge.metrics import Metrics
from chat import topics
from chat.envelopes import Mark, ReceiptUpdate, encode
from chat.errors import Unavailable
from chat.ports import ChatStore, Link
from chat.watermarks import Watermark

COUNT_EVERY = 1.0
"""Seconds between two counts of a large chat: counting 5,000 members is work, and nobody follows so many by eye."""


class ReceiptUpdates:
    """What is new, per chat, until the broker has taken it.

    Names or counts: in a chat of up to `named` people the marks are by name; where one of them hides what they have seen, the topic that all
    of them read tells what was delivered only, and what was seen goes to the inboxes of those who show it themselves. Larger chats get
    counts, from the store, which knows who is in them now and what other bridges have stored; once a second at most.

    A mark holds what this bridge knows to be stored. Another bridge may know more (the broker's reports go to one of them), so
    receivers take the maximum of what they have and what they get; a watermark never falls (P6).

    Args:
        link: to the broker.
        members: the rosters.
        chats: counts for large chats.
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
        chats: ChatStore,
        named: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._members = members
        self._metrics = metrics
        self._named = named
        self._chats = chats
        self._now = now
        self._clock = clock
        self._counted: dict[str, float] = {}
        self._news: defaultdict[str, dict[str, Watermark]] = defaultdict(dict)

    def __bool__(self) -> bool:
        return bool(self._news)

    def add(self, key: Key, mark: Watermark) -> None:
        """A watermark was stored."""
        chat, user = key
        known = self._news[chat].get(user, Watermark())
        self._news[chat][user] = Watermark(
            delivered=max(known.delivered, mark.delivered), seen=max(known.seen, mark.seen)
        )

    async def publish(self) -> None:
        """Tell what is new; what the broker does not take stays for the next time.

        Raises:
            Unavailable: the store does not answer (for rosters that are no longer in memory, and for counts).
        """
        if not self._news or not self._link.connected:
            return
        rosters = await self._members.rosters(list(self._news))
        due = self._due(rosters)
        counts = {
            chat: await self._counts(chat, marks) for chat, marks in due.items() if self._large(rosters.get(chat))
        }
        for chat in due:
            del self._news[chat]
        answers = []
        for chat, marks in due.items():
            roster = rosters.get(chat)
            if roster is not None:
                updates = (
                    [(topics.receipts(chat), counts[chat])]
                    if chat in counts
                    else self._named_marks(chat, marks, roster)
                )
                sent = [self._link.publish(topic, encode(update)) for topic, update in updates]
                answers.append((chat, marks, sent))
        for chat, marks, sent in answers:
            try:
                for answer in sent:
                    await answer
                self._metrics.receipt_updates.inc(len(sent))
            except Unavailable:
                for user, mark in marks.items():
                    self.add((chat, user), mark)

    def _large(self, roster: Roster | None) -> bool:
        return roster is not None and len(roster.people) > self._named

    def _due(self, rosters: dict[str, Roster]) -> dict[str, dict[str, Watermark]]:
        """The news that may be told now: a large chat that was counted a moment ago waits."""
        since = self._clock() - COUNT_EVERY
        self._counted = {chat: at for chat, at in self._counted.items() if at > since}
        return {
            chat: marks
            for chat, marks in self._news.items()
            if chat not in self._counted or not self._large(rosters.get(chat))
        }

    async def _counts(self, chat: str, marks: dict[str, Watermark]) -> ReceiptUpdate:
        seq = max(mark.delivered for mark in marks.values())
        delivered, seen = await self._chats.reached(chat, seq)
        self._counted[chat] = self._clock()
        return ReceiptUpdate(chat=chat, at=self._now(), seq=seq, delivered=delivered, seen=seen)

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
