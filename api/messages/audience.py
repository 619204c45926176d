"""How far messages have come with the members of a chat: by name where that is small enough, by count where it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from api.access import present_member, unknown_chat
from api.messages.schemas import MessageReceipts, Reader
from chat import privacy
from chat.events import Event
from chat.history import Crowd
from chat.ids import is_chat_id
from chat.models import Member, Principal, Receipt
from chat.ports import ChatStore, ReceiptStore
from chat.status import Audience, Log, Progress, Status, progress


@dataclass(frozen=True, slots=True)
class Membership:
    """The caller in a chat.

    Attributes:
        me: their row.
        members: everybody, as the caller may know them; None in a chat that is too large for names.
    """

    me: Member
    members: list[Member] | None


@dataclass(frozen=True, slots=True)
class Progresses:
    """Tells of progress.

    Attributes:
        named: chats of up to so many members are told of by name.
    """

    chats: ChatStore
    receipts: ReceiptStore
    named: int

    async def membership(self, chat: str, caller: Principal) -> Membership:
        """The caller's membership, now, with the others: one question where the chat is small.

        Raises:
            NotFound: `unknown_chat`.
        """
        rows = await self.chats.members(chat, limit=self.named + 1) if is_chat_id(chat) else []
        return await self.among(rows, chat, caller)

    async def among(self, rows: Sequence[Member], chat: str, caller: Principal) -> Membership:
        """The same with the first `named + 1` present members at hand.

        Raises:
            NotFound: `unknown_chat`.
        """
        if len(rows) > self.named:
            return Membership(await present_member(self.chats, chat, caller), None)
        mine = [row for row in rows if row.user == caller.id]
        if not mine:
            raise unknown_chat()
        return Membership(mine[0], privacy.shown_to(caller.id, rows))

    async def of(
        self,
        chat: str,
        events: Sequence[Event],
        membership: Membership,
        *,
        moves: Sequence[Receipt] | None = None,
    ) -> list[Progress]:
        """The progress of events of one page, in order of `seq`.

        Args:
            moves: the log from the first of them on, where it is at hand.
        """
        if not events:
            return []
        if membership.members is None:
            crowds = await self.chats.crowds(chat, events[0].seq, events[-1].seq)
            return [Progress(_status(_counts(event, crowds, membership.me))) for event in events]
        audience = Audience(membership.members)
        return progress(events, audience, await self._moves(chat, events, audience) if moves is None else moves)

    async def readers(self, event: Event, membership: Membership) -> MessageReceipts:
        """Who has received and seen one event."""
        if membership.members is None:
            return await self._counted(event, membership)
        audience = Audience(membership.members)
        moves = await self.receipts.reached(event.chat, event.seq, event.seq)
        (whole,) = progress([event], audience, moves)
        rows = {member.user: member for member in membership.members}
        log = Log(moves)
        log.down_to(event.seq)
        readers = [_reader(rows[user], event.seq, log) for user in sorted(audience.of(event))]
        return MessageReceipts(
            status=whole.status.value,
            delivered_at=whole.delivered_at,
            seen_at=whole.seen_at,
            people=len(readers),
            delivered=sum(reader.delivered for reader in readers),
            seen=sum(reader.seen for reader in readers),
            readers=readers,
        )

    async def _counted(self, event: Event, membership: Membership) -> MessageReceipts:
        crowds, author = await asyncio.gather(
            self.chats.crowds(event.chat, event.seq, event.seq), self.chats.member(event.chat, event.sender)
        )
        me = membership.me
        people, delivered, seen = counts = _counts(event, crowds, me)
        if author is not None and author.left_at is None and author.joined_seq < event.seq:
            people -= 1
            delivered -= max(author.delivered_seq, author.seen_seq) >= event.seq
            counted = author.user == me.user if me.hides_seen else not author.hides_seen
            seen -= counted and author.seen_seq >= event.seq
        return MessageReceipts(_status(counts).value, None, None, people, delivered, seen, None)

    async def _moves(self, chat: str, events: Sequence[Event], audience: Audience) -> list[Receipt]:
        """The log rows that the times of these events need; none while nothing has been delivered."""
        slots = [event.seq for event in events if audience.status(event) is not Status.SENT]
        return await self.receipts.reached(chat, slots[0], slots[-1]) if slots else []


def _counts(event: Event, crowds: Sequence[Crowd], me: Member) -> tuple[int, int, int]:
    """Of the people who joined before an event, its author among them: how many they are, have received it, and have seen it."""
    there = [crowd for crowd in crowds if crowd.joined < event.seq]
    people = sum(crowd.count for crowd in there)
    delivered = sum(crowd.count for crowd in there if crowd.delivered >= event.seq)
    if me.hides_seen:  # who hides what they have seen sees only their own
        return people, delivered, int(me.joined_seq < event.seq <= me.seen_seq)
    return people, delivered, sum(crowd.count for crowd in there if crowd.seen >= event.seq)


def _status(counts: tuple[int, int, int]) -> Status:
    """The author counts too, and has seen what they wrote as soon as their watermark is there: a moment after the message."""
    people, delivered, seen = counts
    if people < 2:
        return Status.SENT
    return Status.SEEN if seen >= people else Status.DELIVERED if delivered >= people else Status.SENT


def _reader(member: Member, seq: int, log: Log) -> Reader:
    delivered, seen = max(member.delivered_seq, member.seen_seq) >= seq, member.seen_seq >= seq
    return Reader(
        user=member.user,
        delivered=delivered,
        seen=seen,
        delivered_at=log.last_delivered([member.user]) if delivered else None,
        seen_at=log.last_seen([member.user]) if seen else None,
    )
