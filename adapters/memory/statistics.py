"""`StatisticsStore` in memory: it counts everything anew with each run, which comes to the same."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime

from adapters.memory.chats import MemoryChats
from adapters.memory.messages import MemoryMessages
from adapters.memory.receipts import MemoryReceipts
from adapters.memory.records import to_ms
from chat.models import Receipt
from chat.statistics import BOUNDS_MS, Figures, RolledUp, Span, Tally


class MemoryStatistics:
    """Sums of what the other stores hold."""

    def __init__(self, messages: MemoryMessages, chats: MemoryChats, receipts: MemoryReceipts) -> None:
        self._messages = messages
        self._chats = chats
        self._receipts = receipts
        self._tally = Tally()
        self._until: datetime | None = None

    async def roll_up(self, *, now: datetime, limit: int) -> RolledUp:
        """See `StatisticsStore.roll_up`."""
        del limit
        tally = Tally()
        for event in self._messages.rows.values():
            tally.event(event.type, event.sender, event.at)
        marks: defaultdict[tuple[str, str], int] = defaultdict(int)
        rows = sorted((row for row in self._receipts.rows if row.kind == "delivered"), key=lambda row: row.seq)
        for row in rows:
            await self._count(tally, row, marks)
        self._tally, self._until = tally, to_ms(now)
        return RolledUp(len(self._messages.rows), len(rows), done=True)

    async def _count(self, tally: Tally, row: Receipt, marks: dict[tuple[str, str], int]) -> None:
        key = row.chat, row.user
        if key not in marks:
            member = await self._chats.member(*key)
            marks[key] = member.joined_seq if member else 0
        tally.delivery(row.at, row.seq - marks[key])
        marks[key] = row.seq
        for event in await self._messages.after(row.chat, row.seq - 1, 1):
            if event.seq == row.seq and event.sender != row.user:
                tally.latency(row.at, row.at - event.at)

    async def figures(self, span: Span, *, since: datetime, until: datetime) -> list[Figures]:
        """See `StatisticsStore.figures`."""
        found: dict[datetime, Figures] = {}
        users: defaultdict[datetime, set[str]] = defaultdict(set)
        buckets: defaultdict[datetime, Counter[int]] = defaultdict(Counter)
        for hour in self._tally.hours() | set(self._tally.users):
            begin = span.begin(hour)
            figures = found.setdefault(begin, Figures(begin))
            figures.messages += self._tally.messages[hour]
            figures.deliveries += self._tally.deliveries[hour]
            users[begin] |= self._tally.users.get(hour, set())
            buckets[begin] += self._tally.latencies.get(hour, Counter())
            figures.active_users = len(users[begin])
            figures.latencies = [buckets[begin][bucket] for bucket in range(len(BOUNDS_MS))]
        first, end = span.begin(since), span.begin(until)
        return [found[begin] for begin in sorted(found) if first <= begin < end]

    async def counted_until(self) -> datetime | None:
        """See `StatisticsStore.counted_until`."""
        return self._until
