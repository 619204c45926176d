"""The head of each chat, in memory: which `seq` and `n` come next (P3).

The store is the truth, and its unique index on (chat, seq) is the fence: a head in memory may be behind when another bridge
has written meanwhile, and then it is forgotten and read again. Whenever a head is read, the slots just below it are checked, and a
hole is filled with a `void` event. That is the one place where voids come from: a slot that failed while later ones of its batch
were stored, and a bridge that was killed before it could fill one, are the same case.

The same look finds slots that have counted one that failed, and sets their `n` right (`bridge.recounting`).

It finds too who sent what is in those slots, and tells it (`taken_up`): a bridge that was killed may have stored a message
without having raised its sender's watermark, and whoever takes up the chat makes it good (P6).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from bridge.recounting import Recounting
from chat.envelopes import Event
from chat.errors import Unavailable
from chat.ids import made_at, new_message_id
from chat.models import Head, Slot
from chat.ports import ChatStore, MessageStore
from chat.views import VOID_SENDER

MAX_CHATS = 20_000
"""Heads kept (about 2 KB each); the ones longest unused go first and are read again when they are needed."""

WINDOW = 512
"""Slots below the head that are checked for holes. A hole can't be older than the last batch of its chat, and a batch has fewer
messages of one chat than this (`ingest.PER_CHAT`)."""

_REMEMBERED = 64
"""Newest slots whose `n` is kept: receipts are nearly always about these."""

_AT_ONCE = 16

_FILL_TRIES = 5
"""Others may fill the same holes, or write into them."""


TakenUp = Callable[[str, Mapping[int, Slot]], None]
"""Told a chat and its newest slots by `seq`, when a bridge reads its head."""


class ChatHead:
    """The newest stored slot of a chat, and the `n` of the slots before it.

    Attributes:
        since: when it was read (`chat.ids.made_at`): what was stored in the chat later, this bridge has stored.
    """

    __slots__ = ("_ns", "at", "edited_at", "n", "seq", "since")

    def __init__(self, seq: int, n: int, since: str = "") -> None:
        self.seq = seq
        self.n = n
        self.since = since
        self.at = datetime.min.replace(tzinfo=UTC)
        self.edited_at = self.at
        self._ns: deque[int] = deque(maxlen=_REMEMBERED)

    def advance(self, seq: int, n: int) -> None:
        """The next slot is stored."""
        if seq != self.seq + 1:
            self._ns.clear()
        self.seq = seq
        self.n = n
        self._ns.append(n)

    def n_at(self, seq: int) -> int | None:
        """The `n` of a slot; None when it is not kept."""
        if seq == self.seq:
            return self.n
        back = self.seq - seq + 1
        return self._ns[-back] if 0 < back <= len(self._ns) else None

    def stamp(self, now: datetime, *, edits: bool) -> datetime:
        """The time of the next event: never before the one before it, and an edit's is after that of every earlier edit.

        (An edit that is applied again must be older than one that came after it, or it would undo that one.)
        """
        self.at = max(self.at, now)
        if edits:
            self.at = self.edited_at = max(self.at, self.edited_at + timedelta(milliseconds=1))
        return self.at


class Loaded(NamedTuple):
    """What `Order.load` has found.

    Attributes:
        voids: events that were stored to fill holes.
        slots: the newest slots of the chats whose heads were read now; the others were known.
    """

    heads: dict[str, ChatHead]
    voids: list[Event]
    slots: dict[str, Mapping[int, Slot]]


class Order:
    """Heads by chat.

    Args:
        messages: the truth.
        chats: see `Recounting`.
        taken_up: told what is found in the newest slots of a chat.
        now: the wall clock, UTC.
    """

    def __init__(
        self,
        messages: MessageStore,
        chats: ChatStore | None = None,
        *,
        taken_up: TakenUp = lambda _chat, _slots: None,
        max_chats: int = MAX_CHATS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._messages = messages
        self._recounting = Recounting(messages, chats)
        self._taken_up = taken_up
        self._max_chats = max_chats
        self._now = now
        self._heads: OrderedDict[str, ChatHead] = OrderedDict()

    def known(self, chat: str) -> ChatHead | None:
        """The head, if it is in memory."""
        return self._heads.get(chat)

    def forget(self, chats: Iterable[str]) -> None:
        """Something about these chats is uncertain: read their heads again before they are used."""
        for chat in chats:
            self._heads.pop(chat, None)

    def doubt(self, events: Iterable[Event]) -> None:
        """These were found in the store. One above the head that is known was stored by another bridge, which may not have read
        its head again since: so it is read here before that event is told to anybody.
        """
        for event in events:
            head = self._heads.get(event.chat)
            if head is not None and event.seq > head.seq:
                del self._heads[event.chat]

    async def load(self, chats: Iterable[str]) -> Loaded:
        """The heads of `chats`; holes below them are filled, and what has counted wrongly is set right.

        Raises:
            Unavailable: the store does not answer.
        """
        found: dict[str, ChatHead] = {}
        missing: list[str] = []
        for chat in chats:
            head = self._heads.get(chat)
            if head is None:
                missing.append(chat)
            else:
                self._heads.move_to_end(chat)
                found[chat] = head
        loaded = Loaded(found, [], {})
        if missing:
            await self._read(missing, loaded)
        return loaded

    async def heal(self, chat: str) -> list[Event]:
        """Fill the holes below a chat's head, for somebody who reads it; the heads in memory stay as they are.

        Raises:
            Unavailable: the store does not answer.
        """
        voids, _ = await self._fill(chat, await self._messages.head(chat))
        return voids

    async def _read(self, chats: Sequence[str], loaded: Loaded) -> None:
        heads = await self._messages.heads(chats)
        for start in range(0, len(chats), _AT_ONCE):
            some = chats[start : start + _AT_ONCE]
            for chat, (voids, slots) in zip(
                some, await asyncio.gather(*(self._fill(chat, heads[chat]) for chat in some)), strict=True
            ):
                seq = heads[chat].seq
                loaded.voids.extend(voids)
                loaded.slots[chat] = slots
                loaded.heads[chat] = self._keep(chat, Head(seq, slots[seq].n if seq else 0))

    def _keep(self, chat: str, head: Head) -> ChatHead:
        kept = self._heads[chat] = ChatHead(head.seq, head.n, made_at(self._now().timestamp() * 1000))
        if len(self._heads) > self._max_chats:
            self._heads.popitem(last=False)
        return kept

    async def _fill(self, chat: str, head: Head) -> tuple[list[Event], Mapping[int, Slot]]:
        """Put voids into the holes between the stored slots of the window; the voids, and the slots as they are then."""
        if not head.seq:
            return [], {}
        window = range(max(1, head.seq - WINDOW + 1), head.seq + 1)
        filled: list[Event] = []
        for _ in range(_FILL_TRIES):
            slots = await self._messages.slots(chat, window.start, head.seq)
            holes = _holes(chat, slots, window, self._now())
            answers = await self._messages.insert(holes) if holes else []
            filled += [void for void, answer in zip(holes, answers, strict=True) if answer.stored]
            if all(answer.stored for answer in answers):
                slots |= {void.seq: Slot(void.n, void.sender, counts=False) for void in holes}
                break
            # Another has filled the same hole, or has stored a message there: that is as good, and counts differently.
        else:
            raise Unavailable("others keep writing into the same slots")
        slots = await self._recounting.correct(chat, slots)
        self._taken_up(chat, slots)
        return [replace(void, n=slots[void.seq].n) for void in filled], slots


def _holes(chat: str, slots: Mapping[int, Slot], window: range, at: datetime) -> list[Event]:
    """A void for each missing slot above the lowest stored one; its `n` is that of the slot before it, counted anew."""
    voids: list[Event] = []
    n: int | None = 0 if window.start == 1 else None
    for seq in window:
        here = slots.get(seq)
        if here is None and n is not None:
            voids.append(Event("void", new_message_id(), chat, seq, n, VOID_SENDER, at))
        elif here is not None:
            n = here.n if n is None else n + here.counts
    return voids
