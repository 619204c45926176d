"""`MessageStore` in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime

from adapters.memory.message_reads import MemoryReads
from adapters.memory.records import copied, to_ms
from adapters.storable import check
from chat.envelopes import Body, Event
from chat.models import Head, Slot
from chat.ports import Inserted
from chat.pushes import Marked


class MemoryMessages(MemoryReads):
    """Events by id, and per chat by `seq`.

    Attributes:
        rows: every event, by id.
    """

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}
        self.rows = self._events
        self._slots: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self._seqs: defaultdict[str, list[int]] = defaultdict(list)  # sorted
        self._push: dict[str, datetime] = {}
        self._pins: dict[str, datetime] = {}
        super().__init__(lambda chat: self._many(chat, self._seqs.get(chat, [])))

    async def insert(self, events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
        """See `MessageStore.insert`."""
        for event in events:
            check(event)
        stored = [self._insert(event, push=event.id in push) for event in events]
        return [
            Inserted(stored=True) if new else self._refused(event) for event, new in zip(events, stored, strict=True)
        ]

    def _insert(self, event: Event, *, push: bool) -> bool:
        if event.id in self._events or event.seq in self._slots[event.chat]:
            return False
        self._events[event.id] = copied(event)
        self._slots[event.chat][event.seq] = event.id
        insort(self._seqs[event.chat], event.seq)
        if push:
            self._push[event.id] = to_ms(event.at)
        return True

    def _refused(self, event: Event) -> Inserted:
        if event.id in self._events:
            return Inserted(stored=False, taken_by=_shown(self._events[event.id]))
        return Inserted(stored=False, seq_taken=True)

    async def by_ids(self, ids: Sequence[str]) -> dict[str, Event]:
        """See `MessageStore.by_ids`."""
        return {id_: _shown(self._events[id_]) for id_ in ids if id_ in self._events}

    async def head(self, chat: str) -> Head:
        """See `MessageStore.head`."""
        return self._head(chat)

    async def heads(self, chats: Sequence[str]) -> dict[str, Head]:
        """See `MessageStore.heads`."""
        return {chat: self._head(chat) for chat in chats}

    def _head(self, chat: str) -> Head:
        seqs = self._seqs.get(chat)
        return Head(seq=seqs[-1], n=self._at(chat, seqs[-1]).n) if seqs else Head()

    async def latest(self, chats: Sequence[str]) -> dict[str, Event]:
        """See `MessageStore.latest`."""
        newest = {}
        for chat in chats:
            for seq in reversed(self._seqs.get(chat, [])):
                event = self._at(chat, seq)
                if event.type == "message" and event.only is None:
                    newest[chat] = _shown(event)
                    break
        return newest

    async def after(self, chat: str, seq: int, limit: int) -> list[Event]:
        """See `MessageStore.after`."""
        seqs = self._seqs.get(chat, [])
        start = bisect_right(seqs, seq)
        return self._many(chat, seqs[start : start + max(0, limit)])

    async def before(self, chat: str, seq: int | None, limit: int) -> list[Event]:
        """See `MessageStore.before`."""
        seqs = self._seqs.get(chat, [])
        end = len(seqs) if seq is None else bisect_left(seqs, seq)
        return self._many(chat, seqs[max(0, end - max(0, limit)) : end])

    async def n_at(self, chat: str, seqs: Sequence[int]) -> dict[int, int]:
        """See `MessageStore.n_at`."""
        slots = self._slots.get(chat, {})
        return {seq: self._at(chat, seq).n for seq in seqs if seq in slots}

    async def slots(self, chat: str, first: int, last: int) -> dict[int, Slot]:
        """See `MessageStore.slots`."""
        seqs = self._seqs.get(chat, [])
        found = ((seq, self._at(chat, seq)) for seq in seqs[bisect_left(seqs, first) : bisect_right(seqs, last)])
        return {
            seq: Slot(event.n, event.sender, event.type == "message" and event.only is None) for seq, event in found
        }

    async def renumber(self, chat: str, ns: Mapping[int, int]) -> None:
        """See `MessageStore.renumber`."""
        for seq, n in ns.items():
            self._at(chat, seq).n = n

    async def rewrite(
        self, target: str, *, body: object | None, edited_at: datetime | None, deleted_at: datetime | None
    ) -> None:
        """See `MessageStore.rewrite`; `adapters.mongo.messages` tells how repeats and late edits are harmless."""
        event = self._events.get(target)
        if event is None or event.deleted_at is not None:
            return
        if deleted_at is not None:
            _erase(event, to_ms(deleted_at))
        elif edited_at is not None:
            if not isinstance(body, Body):
                raise TypeError("an edit brings a Body")
            if event.edited_at is None or to_ms(edited_at) >= event.edited_at:
                event.body = deepcopy(body)
                event.edited_at = to_ms(edited_at)

    async def hide(self, target: str, user: str) -> None:
        """See `MessageStore.hide`."""
        event = self._events.get(target)
        if event is not None and user not in event.hidden_by:
            event.hidden_by = [*event.hidden_by, user]

    async def pin(self, target: str, *, at: datetime, pinned: bool) -> None:
        """See `MessageStore.pin`."""
        event, moment = self._events.get(target), to_ms(at)
        if event is not None and event.deleted_at is None and moment >= self._pins.get(target, moment):
            self._pins[target] = moment
            event.pinned_at = moment if pinned else None

    async def pinned(self, chat: str, limit: int) -> list[Event]:
        """See `MessageStore.pinned`."""
        found = [e for e in self._many(chat, self._seqs.get(chat, [])) if e.pinned_at is not None]
        newest = sorted(found, key=lambda event: (event.pinned_at, event.seq), reverse=True)
        return newest[: max(0, limit)]

    async def push_pending(self, *, older_than: datetime, limit: int, skip: int = 0) -> list[str]:
        """See `PushMarkStore.push_pending`."""
        old = sorted((at, id_) for id_, at in self._push.items() if at < to_ms(older_than))
        return [id_ for _, id_ in old[skip : skip + max(0, limit)]]

    async def push_claim(self, message_id: str) -> Event | None:
        """See `PushMarkStore.push_claim`."""
        return _shown(self._events[message_id]) if message_id in self._push else None

    async def push_claims(self, message_ids: Sequence[str]) -> list[Marked]:
        """See `PushMarkStore.push_claims`."""
        marked = [id_ for id_ in dict.fromkeys(message_ids) if id_ in self._push]
        return [Marked(_shown(self._events[id_]), self._push[id_]) for id_ in marked]

    async def push_newer(self, seqs: Mapping[str, int], *, limit: int) -> list[Marked]:
        """See `PushMarkStore.push_newer`."""
        rows = [self._events[id_] for id_ in self._push]
        newer = [event.id for event in rows if event.seq > seqs.get(event.chat, event.seq)]
        newer.sort(key=lambda id_: self._events[id_].seq, reverse=True)
        return await self.push_claims(newer[: max(0, limit)])

    async def push_done(self, *message_ids: str) -> None:
        """See `PushMarkStore.push_done`."""
        for message_id in message_ids:
            self._push.pop(message_id, None)

    async def push_again(self, message_id: str, at: datetime) -> bool:
        """See `PushMarkStore.push_again`."""
        event = self._events.get(message_id)
        if event is None or event.type != "message":
            return False
        self._push[message_id] = to_ms(at)
        return True

    def forget_push(self, message_id: str) -> None:
        """Its mark goes, if it has one."""
        self._push.pop(message_id, None)

    async def erase_expired(self, *, now: datetime, limit: int) -> int:
        """See `MessageStore.erase_expired`."""
        moment = to_ms(now)
        due = [
            (e.expires_at, e.id) for e in self._events.values() if e.expires_at is not None and e.expires_at <= moment
        ]
        for expires_at, id_ in sorted(due)[: max(0, limit)]:
            _erase(self._events[id_], expires_at)
            self._push.pop(id_, None)
        return max(0, min(len(due), limit))

    def _at(self, chat: str, seq: int) -> Event:
        return self._events[self._slots[chat][seq]]

    def _many(self, chat: str, seqs: Iterable[int]) -> list[Event]:
        return [_shown(self._at(chat, seq)) for seq in seqs]


def _erase(event: Event, at: datetime) -> None:
    event.deleted_at = at
    event.body = None
    event.pinned_at = None
    event.expires_at = None


def _shown(event: Event) -> Event:
    shown = copied(event)
    if shown.expires_at is not None and shown.expires_at <= datetime.now(UTC):
        _erase(shown, shown.expires_at)
    return shown
