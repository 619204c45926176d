"""Ingest: the life of a batch of messages, from the link and back.

    offer ─► gather ─► decode, filter ─► commit (exclusive per chat) ─► fan-out ─► settle

There is no timer: while a batch commits, the next one gathers. A commit begins beside others only when what has gathered is worth a
write of its own, or when those are in trouble: so when little comes in, one write carries what came during the write before, and when much
does, a few are under way. Never two of one chat; a chat is free for its next batch as soon as its events are stored and on their way out,
in order.

A crash at any point is harmless, because the publisher has no PUBACK before the last step and sends again (P4):
before the commit nothing has happened; after it the repeat is recognised, fanned out again and settled; an event that was fanned out
twice is the same as once. The sender's own watermark follows within `PABAL_BRIDGE_RECEIPTS_EVERY`, or after a crash when the chat is
taken up again (`bridge.order`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

import structlog

from adapters.backoff import Backoff
from bridge.admission import Admission
from bridge.commit import Commit, Committed
from bridge.dead_letters import DeadLetters
from bridge.decode import Draft, read
from bridge.fanout import FanOut
from bridge.forwards import Forwards
from bridge.gather import Arrival, Gatherer
from bridge.metrics import Metrics
from bridge.pushes import Pushes
from bridge.receipts import Receipts
from bridge.rejects import Refusal, Rejects
from bridge.repeats import Stored
from bridge.screening import Screen
from bridge.tracing import BatchTrace, Tracing
from bridge.trouble import trouble
from chat.errors import PabalError, Unavailable
from chat.ports import Delivery

PER_CHAT = 256
"""Messages of one chat in one batch at most; see `order.WINDOW`."""

WORTH = 64
"""Messages that are worth a commit beside those under way. A write costs as much as about 30 messages in it (measured, on both sides
together: 0.7 ms for the write and 25 µs for each message)."""

T = TypeVar("T")

_log = structlog.get_logger("ingest")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the ingest.

    Attributes:
        batch: messages per batch.
        batches: commits under way at once.
        waiting: messages that wait for a batch; the link's receive maximum keeps them below it.
        max_bytes: of one payload.
        tries: of a message that fails unexpectedly.
    """

    batch: int = 512
    batches: int = 3
    waiting: int = 20_000
    max_bytes: int = 64 * 1024
    tries: int = 3


@dataclass(slots=True)
class _Outcome:
    """A batch after its commit: who is to be settled how."""

    stored: list[tuple[Arrival, Stored]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    committed: Committed = field(default_factory=lambda: Committed([]))


class Ingest:
    """Takes messages from the link and sees them through.

    Args:
        screen: filters.
        forwards: finds what is forwarded.
        admission: who may write.
        commit: stores batches.
        fan_out: publishes what is stored.
        receipts: told what was sent.
        rejects: tells senders what was refused.
        pushes: sends the jobs of marked messages.
        dead_letters: parks what can't be processed.
        limits: see `Limits`.
        tracing: records spans; None: nothing is recorded.
    """

    def __init__(
        self,
        *,
        screen: Screen,
        forwards: Forwards,
        admission: Admission,
        commit: Commit,
        fan_out: FanOut,
        receipts: Receipts,
        rejects: Rejects,
        pushes: Pushes,
        dead_letters: DeadLetters,
        metrics: Metrics,
        limits: Limits,
        tracing: Tracing | None = None,
    ) -> None:
        self._screen = screen
        self._forwards = forwards
        self._admission = admission
        self._commit = commit
        self._fan_out = fan_out
        self._receipts = receipts
        self._rejects = rejects
        self._pushes = pushes
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._limits = limits
        self._tracing = tracing
        self._gather = Gatherer(batch=limits.batch, per_chat=PER_CHAT, bound=limits.waiting)
        self._committing = 0
        self._troubled: set[asyncio.Task[Any] | None] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    # -- the way in ------------------------------------------------------------------------------------------------

    def offer(self, delivery: Delivery, *, chat: str, sender: str) -> None:
        """Take one message; it is settled when its batch is through. `start` begins with what was offered.

        Offered after `close`, it is left unsettled: the broker gives it to another bridge when this one disconnects.
        """
        if self._closed:
            return
        if not self._gather.add(Arrival(delivery, chat, sender, self._loop.time())):
            # Only possible when the link was lost and brought new messages while those of before still wait.
            full = Unavailable("too many messages wait")
            delivery.settle(full.reason_code, full.reason, full.code)
            self._metrics.refused.labels(full.code).inc()

    def start(self) -> None:
        """Begin batches with what waits, as many as may be under way."""
        while self._committing < self._limits.batches and not self._closed:
            if self._committing > len(self._troubled) and self._gather.takeable < WORTH:
                break
            batch = self._gather.take()
            if not batch:
                break
            self._committing += 1
            task = asyncio.create_task(self._run(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._metrics.waiting.set(len(self._gather))

    async def close(self, *, patience: float) -> None:
        """Take nothing more; let what is under way come through, for at most so many seconds."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- a batch ---------------------------------------------------------------------------------------------------

    async def _run(self, batch: Sequence[Arrival]) -> None:
        trace = None if self._tracing is None else self._tracing.begin(batch, now=self._loop.time())
        try:
            try:
                outcome = await self._store(batch, trace)
                events = _in_order(outcome.committed)
                flight = self._fan_out.start(events, traces=None if trace is None else trace.fan_out(events))
                self._receipts.sent(event for _, event in outcome.stored)
            finally:
                self._committing -= 1
                self._troubled.discard(asyncio.current_task())
                self._gather.release({arrival.chat for arrival in batch})
                self.start()
            await self._fan_out.finish(flight)
            if trace is not None:
                trace.fanned_out()
            await self._settle(outcome)
            self._metrics.settled_seconds.observe(self._loop.time() - batch[0].at)
            if trace is None:
                await self._pushes.send(outcome.committed.marked)
            else:
                await self._pushes.send(outcome.committed.marked, traces=trace.contexts)
                trace.end()
        except Exception as error:  # noqa: BLE001 - unforeseen by definition; the other batches must pass
            _log.error("batch.failed", messages=len(batch), **trouble(error))
            _give_back(batch)
            if trace is not None:
                trace.end(error)

    async def _store(self, batch: Sequence[Arrival], trace: BatchTrace | None) -> _Outcome:
        """Decode, filter and commit; returns when every message of the batch is stored or refused."""
        started = self._loop.time()
        outcome = _Outcome()
        drafts, held = await self._read(batch, outcome)
        if held:
            drafts += await self._repeats(held, outcome)
        if trace is not None:
            trace.screened(drafts)
        if drafts:
            outcome.committed = await self._commit_all(drafts)
            for draft, answer in zip(drafts, outcome.committed.answers, strict=True):
                if isinstance(answer, Stored):
                    outcome.stored.append((draft.arrival, answer))
                else:
                    outcome.refusals.append(_refusal(draft.arrival, answer, draft.send.id))
        if trace is not None:
            trace.refused(outcome.refusals)
        done = self._loop.time()
        self._metrics.batch_size.observe(len(batch))
        self._metrics.commit_seconds.observe(done - started)
        self._metrics.stored_seconds.observe(done - batch[0].at)
        return outcome

    async def _read(
        self, batch: Sequence[Arrival], outcome: _Outcome
    ) -> tuple[list[Draft], list[tuple[Draft, PabalError]]]:
        """The messages that can be read and pass the filters, and those that don't pass. What can't be read is refused."""
        drafts: list[Draft] = []
        held: list[tuple[Draft, PabalError]] = []
        forwards: list[Draft] = []
        for arrival in batch:
            message_id: str | None = None
            try:
                draft = read(arrival, max_bytes=self._limits.max_bytes)
                message_id = draft.send.id
                if draft.send.type == "forward":
                    forwards.append(draft)
                    continue
                refused = self._refused(draft)
                if refused is None:
                    drafts.append(draft)
                else:
                    held.append((draft, refused))
            except PabalError as error:
                outcome.refusals.append(_refusal(arrival, error, message_id))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this message's own: its neighbours must pass (P9)
                parked = await self._park(arrival, message_id, error, tries=1)
                outcome.refusals.append(_refusal(arrival, parked, message_id))
        if forwards:
            drafts += await self._resolve(forwards, held)
        return drafts, held

    def _refused(self, draft: Draft) -> PabalError | None:
        try:
            self._screen.check(draft)
        except PabalError as error:
            return error
        return None

    async def _resolve(self, forwards: Sequence[Draft], held: list[tuple[Draft, PabalError]]) -> list[Draft]:
        """The messages that forwards stand for, if their senders may read them and the filters let them pass."""
        unfit = await self._insist("forward", lambda: self._forwards.resolve(forwards))
        held += unfit
        passed: list[Draft] = []
        for draft in forwards:
            if any(draft is one for one, _ in unfit):
                continue
            refused = self._refused(draft)
            if refused is None:
                passed.append(draft)
            else:
                held.append((draft, refused))
        return passed

    async def _repeats(self, held: Sequence[tuple[Draft, PabalError]], outcome: _Outcome) -> list[Draft]:
        """Those that the filters refused although they are stored already; the others are refused."""
        known = await self._insist("screen", lambda: self._screen.repeats([draft for draft, _ in held]))
        outcome.refusals += [_refusal(d.arrival, error, d.send.id) for d, error in held if d.send.id not in known]
        return [draft for draft, _ in held if draft.send.id in known]

    async def _commit_all(self, drafts: Sequence[Draft]) -> Committed:
        """Commit until it is done: through transient faults with patience, past a poison message by halving the batch.

        Acknowledgements are held back meanwhile, so that what waits is bounded by the link's receive maximum.
        """
        backoff = Backoff(first=0.02, most=2.0)
        tries = 0
        while True:
            try:
                rosters = await self._admission.rosters(drafts)
                return await self._commit.store(drafts, rosters)
            except Unavailable as error:
                self._hold_nobody_up()
                self._metrics.retries.labels("commit").inc()
                _log.warning("commit.retried", messages=len(drafts), reason=error.reason)
            except Exception as error:  # noqa: BLE001 - one of the messages is poison, whatever it does to the store
                self._hold_nobody_up()
                if len(drafts) > 1:
                    middle = len(drafts) // 2
                    first = await self._commit_all(drafts[:middle])
                    return first + await self._commit_all(drafts[middle:])
                if isinstance(error, PabalError) and not error.ours:
                    return Committed([error])
                tries += 1
                _log.error("message.failed", id=drafts[0].send.id, tries=tries, **trouble(error))
                if tries >= self._limits.tries:
                    draft = drafts[0]
                    return Committed([await self._park(draft.arrival, draft.send.id, error, tries=tries)])
            await asyncio.sleep(backoff.next())

    def _hold_nobody_up(self) -> None:
        """The batch of this task is in trouble: what has gathered does not wait for it."""
        self._troubled.add(asyncio.current_task())
        self.start()

    async def _park(self, arrival: Arrival, message_id: str | None, error: Exception, *, tries: int) -> PabalError:
        return await self._insist(
            "park", lambda: self._dead_letters.park(arrival, message_id=message_id, error=error, tries=tries)
        )

    async def _settle(self, outcome: _Outcome) -> None:
        for arrival, _ in outcome.stored:
            arrival.delivery.settle(0, None, None)
        if outcome.refusals:
            await self._rejects.tell(outcome.refusals)

    async def _insist(self, step: str, call: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(first=0.02, most=2.0)
        while True:
            try:
                return await call()
            except Unavailable as error:
                self._hold_nobody_up()
                self._metrics.retries.labels(step).inc()
                _log.warning("ingest.retried", step=step, reason=error.reason)
            await asyncio.sleep(backoff.next())


def _in_order(committed: Committed) -> list[Stored]:
    """What is to be fanned out, rising within each chat (repeats have their old place)."""
    events = [answer for answer in committed.answers if isinstance(answer, Stored)]
    return sorted([*events, *committed.voids], key=attrgetter("seq"))


def _refusal(arrival: Arrival, error: PabalError, message_id: str | None) -> Refusal:
    return Refusal(arrival.delivery, error, arrival.sender, arrival.chat, message_id)


def _give_back(batch: Sequence[Arrival]) -> None:
    """Something unforeseen: tell the senders to try again, so that nothing stays in the window for ever."""
    error = Unavailable("the message could not be processed now")
    for arrival in batch:
        arrival.delivery.settle(error.reason_code, error.reason, error.code)
