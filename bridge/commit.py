"""The commit of a batch: repeats found, `seq` and `n` given, one majority write, and what the two fences say about it.

It may be run again with the same batch at any time, and that is its answer to every doubt: after a fault it is not known what was
stored, so the heads are forgotten, and in the next run the store tells which messages are there already (repeats, with their first
`seq`) and which slots are holes (`bridge.order`). A crash at any point is the same as such a fault, with the run in another process.

The caller keeps the chats of a batch to itself until the commit returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter

import msgspec

from bridge import admission, rights
from bridge.decode import Draft, event_of
from bridge.members import Roster
from bridge.metrics import Metrics
from bridge.order import ChatHead, Order
from bridge.pushes import Pushes
from bridge.recounting import renumbered
from bridge.repeats import Recent, Stored, stored
from bridge.tracing import Tracing
from chat.envelopes import Event
from chat.errors import Conflict, PabalError, Unavailable
from chat.ids import made_between
from chat.models import Head, Slot
from chat.permissions import Ages
from chat.ports import Inserted, MessageStore

Answer = Stored | PabalError

CHANGES = frozenset({"edit", "delete", "hide", "pin", "unpin"})
"""Types that rewrite what history shows of their target."""

ABOUT = CHANGES | {"reaction", "unreact"}
"""Types that name a message of the same chat."""

_CONFLICT_TRIES = 10
"""Another bridge that writes to the same chats all the time is something to back off from."""

_CONFLICT_PAUSE = 0.01
"""Seconds per try: the other one's write must reach the majority before it can be seen."""

_NEVER = "~"
"""Behind every time that an id can say (`chat.ids.made_at`)."""

_AGES = Ages()

_event_of = msgspec.json.Decoder(Event)
_by_seq = attrgetter("seq")


@dataclass(slots=True)
class Committed:
    """What became of a batch.

    Attributes:
        answers: one per draft: the stored event (a repeat's first one), or why it was refused.
        voids: events that fill holes, to be fanned out as well.
        marked: ids of the stored messages that carry a push mark.
    """

    answers: list[Answer]
    voids: list[Stored] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)

    def __add__(self, other: Committed) -> Committed:
        return Committed(self.answers + other.answers, self.voids + other.voids, self.marked + other.marked)


class Commit:
    """Stores batches.

    Args:
        messages: the store.
        order: heads of chats.
        recent: repeats.
        pushes: decides who gets a push mark.
        touched: told the new head of each chat that was written to.
        ages: how long messages may be changed.
        now: the wall clock, UTC.
        tracing: records the writes; None: nothing is recorded.
    """

    def __init__(
        self,
        messages: MessageStore,
        *,
        order: Order,
        recent: Recent,
        pushes: Pushes,
        metrics: Metrics,
        touched: Callable[[str, Head, datetime], None],
        ages: Ages = _AGES,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        tracing: Tracing | None = None,
    ) -> None:
        self._messages = messages
        self._tracing = tracing
        self._order = order
        self._recent = recent
        self._pushes = pushes
        self._metrics = metrics
        self._touched = touched
        self._ages = ages
        self._now = now

    async def store(self, drafts: Sequence[Draft], rosters: dict[str, Roster]) -> Committed:
        """Store what is new, in the order of `drafts` within each chat.

        Raises:
            Unavailable: nothing is known; run it again with the same drafts.
            BadInput: the store can't hold one of them; nothing of the last write was stored.
        """
        batch = _Batch(drafts, rosters)
        chats = {draft.arrival.chat for draft in drafts}
        try:
            await self._look_up(batch, chats)
            await self._write(batch, chats)
            await self._rewrite(batch)
        except BaseException:
            self._order.forget(chats)
            raise
        committed = batch.committed()
        self._remember(committed)
        return committed

    async def _look_up(self, batch: _Batch, chats: Iterable[str]) -> None:
        """Find what is stored already: repeats, and the targets of edits, deletes and reactions."""
        wanted: set[str] = set()
        first, last = self._recent.new_between(self._now().timestamp() * 1000)
        heads = {chat: self._order.known(chat) for chat in chats}
        since = {chat: _NEVER if head is None else max(first, head.since) for chat, head in heads.items()}
        remembered = self._recent.get
        for draft in batch.drafts:
            send = draft.send
            known = remembered(send.id)
            if known is None:
                if not made_between(send.id, since[draft.arrival.chat], last):
                    wanted.add(send.id)
            elif isinstance(known, Stored):
                batch.known[send.id] = known
            else:
                wanted.add(send.id)
            if send.target is not None:
                wanted.add(send.target)
                batch.changes = batch.changes or send.type in CHANGES
            if send.reply_to is not None:
                wanted.add(send.reply_to)
        found = await self._messages.by_ids(list(wanted)) if wanted else {}
        self._order.doubt(found.values())
        batch.known.update({id_: stored(event, repeat=True) for id_, event in found.items()})
        batch.targets.update({id_: rights.target_of(event) for id_, event in found.items()})
        batch.sort(self._now(), self._ages)

    async def _write(self, batch: _Batch, chats: Iterable[str]) -> None:
        """Insert until every fresh draft has a slot."""
        pending = batch.fresh
        for attempt in range(_CONFLICT_TRIES):
            heads, voids, slots = await self._order.load(chats)
            batch.voids += map(stored, voids)
            batch.recount(slots)
            if not pending:
                return
            events = self._events(batch, pending, heads)
            marks = self._pushes.marks(events, batch.rosters)
            insert = self._messages.insert if self._tracing is None else self._tracing.timed(self._messages.insert)
            answers = await insert(events, push=marks)
            if marks:
                pairs = zip(events, answers, strict=True)
                batch.marked += [event.id for event, answer in pairs if answer.stored and event.id in marks]
            pending, uncertain = self._take(batch, pending, events, answers, heads)
            if not uncertain:
                return
            # A slot was taken by another bridge, or stays empty below stored ones: reading the head again settles both.
            self._order.forget(uncertain)
            if pending:
                await asyncio.sleep(_CONFLICT_PAUSE * (attempt + 1))
        raise Unavailable("another bridge keeps writing to the same chats")

    def _events(self, batch: _Batch, pending: Sequence[int], heads: dict[str, ChatHead]) -> list[Event]:
        """The events of the pending drafts, with the next `seq` and `n` of their chats."""
        now = self._now()
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        nexts = {chat: (head.seq, head.n) for chat, head in heads.items()}
        events: list[Event] = []
        for index in pending:
            draft = batch.drafts[index]
            chat, send = draft.arrival.chat, draft.send
            seq, n = nexts[chat]
            seq, n = seq + 1, n + (send.type == "message" and draft.only is None)
            nexts[chat] = (seq, n)
            at = heads[chat].stamp(now, edits=send.type in CHANGES)
            events.append(event_of(draft, seq, n, at, batch.rosters.get(chat)))
        return events

    def _take(
        self,
        batch: _Batch,
        pending: Sequence[int],
        events: Sequence[Event],
        answers: Sequence[Inserted],
        heads: dict[str, ChatHead],
    ) -> tuple[list[int], set[str]]:
        """Sort out one insert: the drafts that need another slot, and the chats whose head is uncertain."""
        again: list[int] = []
        failed: set[str] = set()
        uncertain: set[str] = set()
        for index, event, answer in zip(pending, events, answers, strict=True):
            if answer.stored:
                batch.answers[index] = stored(event)
                if event.chat in failed:
                    uncertain.add(event.chat)  # a hole below this one
                else:
                    heads[event.chat].advance(event.seq, event.n)
                continue
            failed.add(event.chat)
            if answer.seq_taken:
                uncertain.add(event.chat)
                again.append(index)
            elif answer.taken_by is not None:
                batch.repeat(index, stored(answer.taken_by, repeat=True))
                if answer.taken_by.seq > heads[event.chat].seq:
                    uncertain.add(event.chat)
        self._metrics.seq_taken.inc(len(again))
        return again, uncertain

    async def _rewrite(self, batch: _Batch) -> None:
        """Bring history in line with what changes it, also with changes stored before: their rewrite may have been lost in a crash.

        The stored event counts, not what was sent this time. An old change never undoes a newer one: the store compares times.
        """
        if not batch.changes:
            return
        for draft, answer in zip(batch.drafts, batch.answers, strict=True):
            if draft.send.type not in CHANGES or not isinstance(answer, Stored):
                continue
            event = _event_of.decode(answer.whole)
            # What only its sender may see changes nothing that others see, but for its purpose: to hide it from that sender.
            if event.target is None or not batch.knows(event.target, event, private=answer.to is not None):
                continue
            await self._change(event)

    async def _change(self, event: Event) -> None:
        target = event.target or ""
        match event.type:
            case "edit":
                await self._messages.rewrite(target, body=event.body, edited_at=event.at, deleted_at=None)
            case "delete":
                await self._messages.rewrite(target, body=None, edited_at=None, deleted_at=event.at)
            case "hide":
                await self._messages.hide(target, event.sender)
            case _:
                await self._messages.pin(target, at=event.at, pinned=event.type == "pin")

    def _remember(self, committed: Committed) -> None:
        known = [answer for answer in committed.answers if type(answer) is Stored]
        known += committed.voids
        self._recent.add(known)
        fresh = [event for event in known if not event.repeat]
        fresh.sort(key=_by_seq)
        for chat, event in {event.chat: event for event in fresh}.items():  # the newest of each
            self._touched(chat, Head(event.seq, event.n), event.at)
        self._metrics.stored.inc(len(fresh))
        self._metrics.repeats.inc(len(known) - len(fresh))
        self._metrics.voids.inc(len(committed.voids))


class _Batch:
    """The working state of one run."""

    def __init__(self, drafts: Sequence[Draft], rosters: dict[str, Roster]) -> None:
        self.drafts = drafts
        self.rosters = rosters
        self.known: dict[str, Stored] = {}
        self.targets: dict[str, rights.Target] = {}
        self.answers: list[Answer | None] = [None] * len(drafts)
        self.fresh: list[int] = []
        self.voids: list[Stored] = []
        self.marked: list[str] = []
        self.changes = False
        self._firsts: dict[str, int] = {}
        self._copies: list[tuple[int, int]] = []

    def sort(self, now: datetime, ages: Ages) -> None:
        """Answer what can be answered without a write; the rest is `fresh`."""
        firsts, known_ids, writers = self._firsts, self.known, self._writers()
        for index, draft in enumerate(self.drafts):
            send = draft.send
            first = firsts.setdefault(send.id, index)
            if first != index:
                self._copies.append((index, first))
                continue
            known = known_ids.get(send.id)
            if known is not None:
                self.repeat(index, known)
                continue
            arrival = draft.arrival
            if send.target is send.reply_to is None and (arrival.chat, arrival.sender) in writers:
                self.fresh.append(index)  # what nearly everything is
                continue
            error = admission.refusal(draft, self.rosters) or self._without_right(draft, now, ages)
            if error is not None:
                self.answers[index] = error
            else:
                self.fresh.append(index)

    def _writers(self) -> set[tuple[str, str]]:
        """Who may write where, of those who do; each is asked once per batch."""
        pairs = {(draft.arrival.chat, draft.arrival.sender) for draft in self.drafts}
        return {pair for pair in pairs if admission.may_always(*pair, self.rosters)}

    def _without_right(self, draft: Draft, now: datetime, ages: Ages) -> PabalError | None:
        """Why its sender may not do that to the message that it names."""
        send, arrival = draft.send, draft.arrival
        if send.target is None and send.reply_to is None:
            return None
        roster = self.rosters.get(arrival.chat)
        actor = rights.Actor(arrival.sender, arrival.chat, None if roster is None else roster.role(arrival.sender))
        error: PabalError | None = None
        if send.target is not None and send.type in ABOUT:
            error = rights.refusal(send, actor, self._target(send.target), now=now, ages=ages)
        if error is None and send.reply_to is not None:
            error = rights.answers_nothing(self._target(send.reply_to), actor)
        return error

    def _target(self, target: str) -> rights.Target | None:
        return self.targets.get(target) or self._earlier(target)

    def repeat(self, index: int, known: Stored) -> None:
        """The id of a draft is stored already: by the same sender in the same chat it is a repeat, else it is taken."""
        arrival = self.drafts[index].arrival
        if known.sender == arrival.sender and known.chat == arrival.chat:
            self.answers[index] = msgspec.structs.replace(known, repeat=True)
        else:
            self.answers[index] = Conflict("this message id belongs to another message", code="id_taken")

    def recount(self, slots: Mapping[str, Mapping[int, Slot]]) -> None:
        """What was stored or found before these slots were read may have been given another `n` since (`bridge.recounting`)."""
        if not slots:
            return
        for index, answer in enumerate(self.answers):
            if isinstance(answer, Stored) and answer.seq in slots.get(answer.chat, ()):
                self.answers[index] = renumbered(answer, slots[answer.chat][answer.seq].n)

    def knows(self, target: str, event: Event, *, private: bool) -> bool:
        """Whether the target of a stored change is there, and is one that it may change."""
        first = self._firsts.get(target)
        if first is not None:
            answer = self.answers[first]
            return (
                isinstance(answer, Stored) and answer.chat == event.chat and (not private or answer.to == event.sender)
            )
        found = self.targets.get(target)
        if found is None or (found.chat, found.type) != (event.chat, "message"):
            return False
        if event.type == "edit" and found.sender != event.sender:
            return False
        return not private or event.type == "hide" or found.only == event.sender

    def committed(self) -> Committed:
        """All answers, with those of copies within the batch."""
        for index, first in self._copies:
            answer = self.answers[first]
            if isinstance(answer, Stored):
                self.repeat(index, answer)
            else:
                self.answers[index] = answer
        return Committed([answer for answer in self.answers if answer is not None], self.voids, self.marked)

    def _earlier(self, target: str) -> rights.Target | None:
        """A message that came earlier in this batch."""
        index = self._firsts.get(target)
        if index is None or index not in self.fresh:
            return None
        draft = self.drafts[index]
        return rights.Target(draft.arrival.chat, draft.arrival.sender, draft.send.type, only=draft.only)
