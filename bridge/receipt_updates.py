"""Receipt updates: watermarks that moved, told to the members on `chats/{chat}/receipts`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime

from bridge.claims import Key
from bridge.members import Members, Roster
from bridge.metrics import Metrics
from chat import topics
from chat.envelopes import Mark, ReceiptUpdate, encode
from chat.errors import Unavailable
from chat.ports import Link
from chat.watermarks import Watermark


class ReceiptUpdates:
    """What is new, per chat, until the broker has taken it.

    A mark holds what this bridge knows to be stored. Another bridge may know more (the broker's reports go to one of them), so
    receivers take the maximum of what they have and what they get; a watermark never falls (P6).

    Args:
        link: to the broker.
        members: the rosters.
        named: chats of up to so many people see names, larger ones counts.
        now: the wall clock, UTC.
    """

    def __init__(
        self,
        link: Link,
        members: Members,
        metrics: Metrics,
        *,
        named: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._link = link
        self._members = members
        self._metrics = metrics
        self._named = named
        self._now = now
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
            Unavailable: the store does not answer (for the rosters of chats that are no longer in memory).
        """
        if not self._news or not self._link.connected:
            return
        rosters = await self._members.rosters(list(self._news))
        news = list(self._news.items())
        self._news.clear()
        answers = []
        for chat, marks in news:
            roster = rosters.get(chat)
            if roster is not None:
                update = encode(self._update(chat, marks, roster))
                answers.append((chat, marks, self._link.publish(topics.receipts(chat), update)))
        for chat, marks, answer in answers:
            try:
                await answer
                self._metrics.receipt_updates.inc()
            except Unavailable:
                for user, mark in marks.items():
                    self.add((chat, user), mark)

    def _update(self, chat: str, marks: dict[str, Watermark], roster: Roster) -> ReceiptUpdate:
        at = self._now()
        if len(roster.people) <= self._named:
            rows = [Mark(user, mark.delivered, mark.seen) for user, mark in marks.items()]
            return ReceiptUpdate(chat=chat, at=at, marks=rows)
        seq = max(mark.delivered for mark in marks.values())
        delivered, seen = roster.reached(seq)
        return ReceiptUpdate(chat=chat, at=at, seq=seq, delivered=delivered, seen=seen)
