"""`UpkeepStore` in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, MutableMapping
from datetime import datetime
from itertools import islice, takewhile
from typing import TypeVar

from adapters.memory.chats import MemoryChats
from adapters.memory.grants import MemoryGrants
from adapters.memory.idempotency import MemoryIdempotency
from adapters.memory.messages import MemoryMessages
from adapters.memory.push_tokens import MemoryPushTokens
from adapters.memory.receipts import MemoryReceipts
from adapters.memory.records import to_ms
from chat.events import Event
from chat.upkeep import Keeping
from chat.views import VOID_SENDER

K = TypeVar("K")
V = TypeVar("V")


class MemoryUpkeep:
    """Works on the rows of the other stores."""

    def __init__(
        self,
        messages: MemoryMessages,
        chats: MemoryChats,
        receipts: MemoryReceipts,
        grants: MemoryGrants,
        tokens: MemoryPushTokens,
        keys: MemoryIdempotency,
    ) -> None:
        self._messages = messages
        self._chats = chats
        self._receipts = receipts
        self._grants = grants
        self._tokens = tokens
        self._keys = keys
        self._erased: defaultdict[str, int] = defaultdict(int)

    async def set_retention(self, chat: str, days: int | None) -> bool:
        """See `UpkeepStore.set_retention`."""
        found = self._chats.all.get(chat)
        if found is not None:
            found.retention_days = days
        return found is not None

    async def keepings(self, *, after: str, limit: int, own: bool) -> list[Keeping]:
        """See `UpkeepStore.keepings`."""
        found = [chat for id_, chat in sorted(self._chats.all.items()) if id_ > after]
        wanted = [chat for chat in found if not own or chat.retention_days is not None]
        return [Keeping(chat.id, chat.retention_days, self._erased[chat.id]) for chat in wanted[: max(0, limit)]]

    async def erase_before(
        self, chat: str, *, after: int, before: datetime, now: datetime, limit: int
    ) -> tuple[int, int]:
        """See `UpkeepStore.erase_before`."""
        events = sorted(
            (e for e in self._messages.rows.values() if e.chat == chat and e.seq > after), key=lambda e: e.seq
        )
        old = list(takewhile(lambda event: event.at < before, events[: max(0, limit)]))
        for event in old:
            self._messages.forget_push(event.id)
            _erase(event, to_ms(now))
        return (old[-1].seq if old else after), len(old)

    async def note_erased(self, chat: str, seq: int) -> None:
        """See `UpkeepStore.note_erased`."""
        self._erased[chat] = max(self._erased[chat], seq)

    async def drop_receipts(self, chat: str, seq: int, limit: int) -> int:
        """See `UpkeepStore.drop_receipts`."""
        return _drop(self._receipts.by_place, lambda row: row.chat == chat and row.seq <= seq, limit)

    async def oldest_receipt(self) -> datetime | None:
        """See `UpkeepStore.oldest_receipt`."""
        return min((row.at for row in self._receipts.rows), default=None)

    async def fold_receipts(self, start: datetime, end: datetime, limit: int) -> int:
        """See `UpkeepStore.fold_receipts`."""
        places: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        for row in self._receipts.rows:
            if start <= row.at < end:
                places[row.chat, row.kind, row.user].append(row.seq)
        several = [(whose, sorted(seqs)[:-1]) for whose, seqs in places.items() if len(seqs) > 1]
        going = [(*whose, seq) for whose, seqs in several[: max(0, limit)] for seq in seqs]
        for place in going:
            del self._receipts.by_place[place]
        return len(going)

    async def forget_sign_ins(self, before: datetime, limit: int) -> int:
        """See `UpkeepStore.forget_sign_ins`."""
        return _drop(
            self._grants.all,
            lambda grant: grant.expires_at < before or (grant.revoked_at is not None and grant.revoked_at < before),
            limit,
        )

    async def forget_push_tokens(self, before: datetime, limit: int) -> int:
        """See `UpkeepStore.forget_push_tokens`."""
        return _drop(self._tokens.all, lambda token: token.updated_at < before, limit)

    async def forget_keys(self, now: datetime, limit: int) -> int:
        """See `UpkeepStore.forget_keys`."""
        return _drop(self._keys.rows, lambda row: row.expires_at <= now, limit)


def _drop(rows: MutableMapping[K, V], goes: Callable[[V], bool], limit: int) -> int:
    going = list(islice((key for key, row in rows.items() if goes(row)), max(0, limit)))
    for key in going:
        del rows[key]
    return len(going)


def _erase(event: Event, now: datetime) -> None:
    if event.type in ("system", "void"):
        return
    event.body = event.forwarded = event.expires_at = event.pinned_at = event.trace_id = None
    event.mentions, event.hidden_by = [], []
    if event.type == "message":
        event.deleted_at = event.deleted_at or now
        return
    event.type, event.sender = "void", VOID_SENDER
    event.target = event.reply_to = event.only = event.edited_at = event.deleted_at = None
