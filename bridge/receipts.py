"""Receipts: claims become watermarks (P6), coalesced, and one log row per real move.

Order of the steps, and why a crash between any two is harmless: the rows first (the log ignores a row that it has, and the first time
is the true one), then the watermarks (`$max`), then the acknowledgements; until those the claims come again. Members are told last;
an update that is lost with this process is made good by the next move.

Large chats are different (0016): what the broker reports of them is held back for longer, so that a busy one is not an update per member
and message; the broker's report is settled with the last of it, so a bridge that is killed meanwhile loses nothing that the broker has.
Nothing is logged by member there: `bridge.counts` logs how far everybody is.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from adapters.backoff import Backoff
from bridge.claims import Claim, Claims, Key
from bridge.members import Members, Roster
from bridge.metrics import Metrics
from bridge.order import Order
from bridge.receipt_updates import ReceiptUpdates
from bridge.rejects import Refusal, Rejects
from bridge.repeats import Stored
from bridge.trouble import trouble
from chat.envelopes import Delivered, decode, read_ack
from chat.errors import Forbidden, PabalError, Unavailable
from chat.models import Receipt, Slot, Watermarks
from chat.ports import ChatStore, Delivery, MessageStore, ReceiptStore
from chat.watermarks import Watermark, raise_to

HELD_MOST = 50_000
"""Claims held back before they are stored early: about 20 MB."""

RESTS, LONGEST = 4.0, 0.5
"""With very many chats storing takes long. Then receipts make room for messages, and more of them come together: they rest four times as
long as they worked, but not so long (seconds) that who acknowledges would notice, or the worker push who has the message."""

_log = structlog.get_logger("receipts")


def pause(every: float, took: float) -> float:
    """Seconds to collect before the next flush, when the last one took so long."""
    return max(every, min(RESTS * took, LONGEST))


@dataclass(slots=True)
class _Move:
    """One member's move.

    Attributes:
        large: it is in a large chat, where nobody is named.
        own_only: it passes nothing but what the member wrote; the events themselves tell that.
    """

    key: Key
    before: Watermark
    after: Watermark
    claim: Claim
    large: bool
    own_only: bool

    def rows(self, at: datetime) -> Iterable[Receipt]:
        """What is logged. What was sent was seen, and what was seen was delivered: that needs no row of its own."""
        if self.large or self.own_only:
            return
        chat, user = self.key
        own = self.after.delivered == self.after.seen == self.claim.sent
        if self.after.delivered > self.before.delivered and not own:
            yield Receipt(chat, user, "delivered", self.after.delivered, at)
        if self.after.seen > self.before.seen:
            yield Receipt(chat, user, "seen", self.after.seen, at)


class Receipts:
    """Collects claims and stores them.

    Args:
        chats: where watermarks are stored.
        log: where their moves are logged.
        messages: asked for heads and `n` that are not in memory.
        members: the rosters: who may claim, and from where they rise.
        order: heads in memory.
        updates: tells the members.
        rejects: tells whose claim is refused.
        seen: is told who has seen what others wrote, and up to where; must not block.
        every: seconds that claims are collected.
        hold: seconds that the broker's reports of large chats are held back on top of that; 0: not at all.
        now: the wall clock, UTC.
    """

    def __init__(
        self,
        *,
        chats: ChatStore,
        log: ReceiptStore,
        messages: MessageStore,
        members: Members,
        order: Order,
        updates: ReceiptUpdates,
        rejects: Rejects,
        metrics: Metrics,
        seen: Callable[[Iterable[tuple[Key, int]]], None] = lambda _seen: None,
        every: float = 0.2,
        hold: float = 1.5,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._chats = chats
        self._receipts = log
        self._messages = messages
        self._members = members
        self._order = order
        self._updates = updates
        self._rejects = rejects
        self._metrics = metrics
        self._seen = seen
        self._every = every
        self._hold = hold
        self._now = now
        self._claims = Claims()
        self._held = Claims()
        self._ripe = False
        self._flushing = asyncio.Lock()
        self._refusals: list[Refusal] = []
        self._something = asyncio.Event()

    # -- the way in ------------------------------------------------------------------------------------------------

    def offer_ack(self, delivery: Delivery, *, chat: str, user: str) -> None:
        """Take a member's acknowledgement; it is settled when the watermark is stored."""
        try:
            ack = read_ack(delivery.payload)
        except PabalError as error:
            self._refusals.append(Refusal(delivery, error, user, chat))
        else:
            self._claims.ack((chat, user), ack, delivery)
        self._something.set()

    def offer_delivered(self, delivery: Delivery) -> None:
        """Take the broker's report of what subscribers have acknowledged."""
        try:
            marks = decode(delivery.payload, Delivered).marks
        except PabalError as error:
            _log.error("delivered.unreadable", reason=error.reason)
            delivery.settle(error.reason_code, error.reason, error.code)
            return
        self._claims.report(marks, delivery)
        self._something.set()

    def sent(self, events: Iterable[Stored]) -> None:
        """Senders have received and seen everything up to what they sent. Whoever takes up the chat after a crash knows it again
        (`taken_up`), so nobody waits for it.
        """
        for event in events:
            self._claims.sent((event.chat, event.sender), event.seq, event.n)
        if self._claims:
            self._something.set()

    def taken_up(self, chat: str, slots: Mapping[int, Slot]) -> None:
        """The same from the newest slots of a chat: a bridge that was killed may have left it undone."""
        for seq, slot in sorted(slots.items()):
            self._claims.sent((chat, slot.sender), seq, slot.n)
        if slots:
            self._something.set()

    # -- the way out -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Store what was collected, interval by interval, until cancelled."""
        took = 0.0
        while True:
            await self._something.wait()
            await asyncio.sleep(pause(self._every, took))
            began = time.monotonic()
            await self.flush()
            took = time.monotonic() - began

    async def close(self) -> None:
        """Store everything that was collected, also what is held back; from now on nothing is."""
        self._hold = 0.0
        await self.flush()

    async def flush(self) -> None:
        """Store, settle and tell what was collected, however long the store takes to answer."""
        async with self._flushing:
            self._something.clear()
            claims, self._claims = self._claims, Claims()
            refusals, self._refusals = self._refusals, []
            if self._ripe or not self._hold or len(self._held.by_key) > HELD_MOST:
                self._ripe = False
                claims.take(self._held)
                await self._flush(claims, refusals, hold=False)
            else:
                await self._flush(claims, refusals, hold=True)
            if self._updates:
                self._something.set()  # the link was down, or it was counted a moment ago

    async def _flush(self, claims: Claims, refusals: list[Refusal], *, hold: bool) -> None:
        backoff = Backoff(first=0.05, most=2.0)
        at = self._now()
        while True:
            try:
                await self._store(claims, refusals, at, hold=hold)
                await self._updates.publish()
            except Unavailable as error:
                self._metrics.retries.labels("receipts").inc()
                _log.warning("receipts.retried", reason=error.reason)
                await asyncio.sleep(backoff.next())
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, later receipts must pass (P9)
                _log.error("receipts.failed", claims=len(claims.by_key), **trouble(error))
                _give_back(claims.deliveries())
            break

    async def _store(self, claims: Claims, refusals: list[Refusal], at: datetime, *, hold: bool) -> None:
        rosters = await self._rosters(claims)
        if hold:
            self._hold_back(claims, rosters)
        moves = await self._moves(claims, rosters)
        if moves:
            await self._receipts.append([row for move in moves for row in move.rows(at)])
            await self._chats.raise_watermarks(await self._watermarks(moves))
            self._metrics.watermarks.inc(len(moves))
        for move in moves:
            rosters[move.key[0]].raised(move.key[1], delivered=move.after.delivered, seen=move.after.seen)
            if not move.own_only:
                self._updates.add(move.key, move.after, large=move.large)
        self._seen((m.key, m.after.seen) for m in moves if m.after.seen > m.before.seen and not m.own_only)
        self._settle(claims, rosters, refusals)
        if refusals:
            await self._rejects.tell(refusals)

    def _hold_back(self, claims: Claims, rosters: dict[str, Roster]) -> None:
        large = {chat for chat, roster in rosters.items() if self._updates.large(roster)}
        if not large:
            return
        fresh = not self._held
        claims.hold_back(self._held, large)
        if fresh and self._held:
            asyncio.get_running_loop().call_later(self._hold, self._ripen)

    def _ripen(self) -> None:
        self._ripe = True
        self._something.set()

    async def _rosters(self, claims: Claims) -> dict[str, Roster]:
        """The rosters; where somebody acknowledges who is not in one, it is read anew: they may have joined a moment ago."""
        if not claims.by_key:
            return {}
        rosters = await self._members.rosters(claims.chats())
        doubtful = {
            chat
            for (chat, user), claim in claims.by_key.items()
            if claim.acks and chat in rosters and user not in rosters[chat]
        }
        if doubtful:
            rosters |= await self._members.reload(doubtful)
        return rosters

    async def _moves(self, claims: Claims, rosters: dict[str, Roster]) -> list[_Move]:
        """The claims that really raise a watermark, cut at what the chat has."""
        lasts = await self._lasts(claims, rosters)
        moves: list[_Move] = []
        for (chat, user), claim in claims.by_key.items():
            roster = rosters.get(chat)
            if roster is None or user not in roster:
                continue
            before = roster.watermark(user)
            after = raise_to(
                before, last=lasts[chat], delivered=max(claim.delivered, claim.sent), seen=max(claim.seen, claim.sent)
            )
            if after != before:
                large, own_only = self._updates.large(roster), claim.own_only(before, after)
                moves.append(_Move((chat, user), before, after, claim, large, own_only))
        return moves

    async def _lasts(self, claims: Claims, rosters: dict[str, Roster]) -> dict[str, int]:
        """The newest `seq` per chat; asked of the store where memory has none, or a claim passes it (another bridge may have written)."""
        highest: defaultdict[str, int] = defaultdict(int)
        for (chat, _), claim in claims.by_key.items():
            highest[chat] = max(highest[chat], claim.highest)
        lasts: dict[str, int] = {}
        for chat in rosters:
            head = self._order.known(chat)
            if head is not None and highest[chat] <= head.seq:
                lasts[chat] = head.seq
        unknown = [chat for chat in rosters if chat not in lasts]
        if unknown:
            lasts |= {chat: head.seq for chat, head in (await self._messages.heads(unknown)).items()}
        return lasts

    async def _watermarks(self, moves: Sequence[_Move]) -> list[Watermarks]:
        """What is stored, with the `n` of what was seen; of what was seen before nothing is said."""
        ns: dict[tuple[str, int], int] = {}
        missing: defaultdict[str, set[int]] = defaultdict(set)
        for move in moves:
            chat, seen = move.key[0], move.after.seen
            if seen == move.before.seen:
                continue
            if seen == move.claim.sent:
                ns[chat, seen] = move.claim.sent_n
                continue
            head = self._order.known(chat)
            n = head.n_at(seen) if head is not None else None
            if n is None:
                missing[chat].add(seen)
            else:
                ns[chat, seen] = n
        for chat, seqs in missing.items():
            found = await self._messages.n_at(chat, sorted(seqs))
            for seq in seqs:
                ns[chat, seq] = found[seq] if seq in found else await self._n_below(chat, seq)
        return [
            Watermarks(*move.key, move.after.delivered, move.after.seen, ns[move.key[0], move.after.seen])
            if move.after.seen > move.before.seen
            else Watermarks(*move.key, move.after.delivered, 0, 0)
            for move in moves
        ]

    async def _n_below(self, chat: str, seq: int) -> int:
        """The `n` of a slot that is not stored (yet): that of the newest one below it."""
        below = await self._messages.before(chat, seq, 1)
        return below[0].n if below else 0

    @staticmethod
    def _settle(claims: Claims, rosters: dict[str, Roster], refusals: list[Refusal]) -> None:
        for report in claims.reports:
            report.settle(0, None, None)
        for (chat, user), claim in claims.by_key.items():
            if chat in rosters and user in rosters[chat]:
                for ack in claim.acks:
                    ack.settle(0, None, None)
            else:
                error = Forbidden("only present members acknowledge what is in a chat", code="not_a_member")
                refusals += [Refusal(ack, error, user, chat) for ack in claim.acks]


def _give_back(deliveries: Iterable[Delivery]) -> None:
    error = Unavailable("the receipt could not be processed now")
    for delivery in deliveries:
        delivery.settle(error.reason_code, error.reason, error.code)
