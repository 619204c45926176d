"""Counts: how far the people of a large chat are, by number. Told to them, and logged where everybody is.

The numbers come from the store, which knows who is in the chat now and what other bridges have stored.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from chat.envelopes import ReceiptUpdate
from chat.models import EVERYBODY, Reach, Receipt
from chat.ports import ChatStore, ReceiptStore

COUNT_EVERY = 1.0
"""Seconds between two counts of one chat: counting 5,000 members takes the database 15 ms, and nobody follows so many by eye."""

CHATS_KEPT = 10_000
"""Chats of which is remembered how far everybody was; forgetting costs a row that the log has already."""


class Counts:
    """What is new in large chats, until it is counted.

    Args:
        chats: counts.
        log: told how far everybody is; a row per step, as the slowest of all moves seldom.
        now: the wall clock, UTC.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        chats: ChatStore,
        log: ReceiptStore,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chats = chats
        self._log = log
        self._now = now
        self._clock = clock
        self._news: dict[str, int] = {}
        self._counted: dict[str, float] = {}
        self._everybody: OrderedDict[str, Reach] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._news)

    def add(self, chat: str, seq: int) -> None:
        """Somebody's watermark has come to `seq`."""
        self._news[chat] = max(self._news.get(chat, 0), seq)

    async def take(self) -> dict[str, ReceiptUpdate]:
        """What may be told now, by chat; one that was counted a moment ago waits.

        Raises:
            Unavailable: the store does not answer; nothing is lost.
        """
        since = self._clock() - COUNT_EVERY
        self._counted = {chat: at for chat, at in self._counted.items() if at > since}
        due = {chat: seq for chat, seq in self._news.items() if chat not in self._counted}
        found = {chat: await self._count(chat, seq) for chat, seq in due.items()}
        for chat in due:
            del self._news[chat]
        return found

    async def _count(self, chat: str, seq: int) -> ReceiptUpdate:
        at = self._now()
        reach = await self._chats.reached(chat, seq)
        self._counted[chat] = self._clock()
        await self._note(chat, reach, at)
        return ReceiptUpdate(chat=chat, at=at, seq=seq, delivered=reach.delivered, seen=reach.seen)

    async def _note(self, chat: str, reach: Reach, at: datetime) -> None:
        """Log how far everybody is, when that is further than before."""
        known = self._everybody.pop(chat, Reach())
        rows = []
        if reach.all_delivered > known.all_delivered:
            rows.append(Receipt(chat, EVERYBODY, "delivered", reach.all_delivered, at))
        if reach.all_seen > known.all_seen:
            rows.append(Receipt(chat, EVERYBODY, "seen", reach.all_seen, at))
        if rows:
            await self._log.append(rows)
        self._everybody[chat] = Reach(
            all_delivered=max(known.all_delivered, reach.all_delivered), all_seen=max(known.all_seen, reach.all_seen)
        )
        if len(self._everybody) > CHATS_KEPT:
            self._everybody.popitem(last=False)
