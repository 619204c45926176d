"""History with what became of each message, and sending over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from adapters import tracing
from api.access import present_member
from api.claims import Claim
from api.messages.audience import Membership, Progresses
from api.messages.reading import Copies, Reader, Slice
from api.messages.refusals import refusal
from api.messages.schemas import (
    MAX_SEQ,
    ClearedUpTo,
    HistoryItem,
    HistoryPage,
    HistoryQuery,
    MessageReceipts,
    Pins,
    RepliesQuery,
    item,
)
from chat import folding, permissions, topics, views
from chat.envelopes import Event, Send, encode, read_send
from chat.errors import Conflict, Forbidden, Unavailable
from chat.history import RECENT, Opening, OpeningStore, Recents
from chat.ids import is_chat_id, new_message_id
from chat.models import Principal, Receipt
from chat.ports import ChatStore, Link, MessageStore

MAX_PINS = 100
"""Shown at once."""

NOWHERE = ""
"""In place of what is no chat id: a chat that is not there, so that who asks is looked at just as for one that is."""


@dataclass(frozen=True, slots=True)
class MessageService:
    """The decisions of `/v1/chats/{chat}/messages`.

    Attributes:
        send_timeout: seconds that a send waits for its PUBACK.
    """

    messages: MessageStore
    chats: ChatStore
    progresses: Progresses
    recents: Recents
    openings: OpeningStore
    link: Link
    max_send_bytes: int
    send_timeout: float

    async def history(self, chat: str, query: HistoryQuery, claim: Claim) -> HistoryPage:
        """One page of events, in order of `seq`.

        Raises:
            NotFound: `unknown_chat`, `unknown_message`.
            PabalError: of `Claim.proven`.
        """
        if not is_chat_id(chat):
            chat = NOWHERE
        if query.newest and query.limit <= RECENT:
            return await self._recent(chat, query, claim)
        if query.below is not None:
            return await self._older(chat, query.below, query.limit, claim)
        opening, membership = await self._opened(chat, claim, first=MAX_SEQ)
        page = await self._reader(membership, opening.newest).page(chat, query)
        return await self._page(chat, page, membership)

    async def one(self, chat: str, message: str, *, caller: Principal) -> HistoryItem:
        """One event, as history shows it.

        Raises:
            NotFound: `unknown_chat`, `unknown_message`.
            InvalidId: the id is none.
        """
        membership = await self.progresses.membership(chat, caller)
        event = await self._reader(membership).one(chat, message)
        return (await self._items(chat, [event], membership))[0]

    async def replies(self, chat: str, message: str, query: RepliesQuery, *, caller: Principal) -> HistoryPage:
        """The messages that answer one, in order of `seq`.

        Raises:
            NotFound: `unknown_chat`, `unknown_message`.
            InvalidId: the id is none.
        """
        membership = await self.progresses.membership(chat, caller)
        root = await self._reader(membership).one(chat, message)
        after = max(query.after, membership.me.cleared_seq)
        found = await self.messages.replies(chat, root.id, caller.id, above=after, limit=query.limit + 1)
        events = found[: query.limit]
        items = await self._items(chat, events, membership)
        return HistoryPage(items=items, next=events[-1].seq if len(found) > query.limit else None, prev=None)

    async def receipts(self, chat: str, message: str, *, caller: Principal) -> MessageReceipts:
        """Who has received and seen a message.

        Raises:
            NotFound: `unknown_chat`, `unknown_message`.
            InvalidId: the id is none.
        """
        membership = await self.progresses.membership(chat, caller)
        event = await self._reader(membership).one(chat, message)
        return await self.progresses.readers(event, membership)

    async def clear(self, chat: str, seq: int, *, caller: Principal) -> ClearedUpTo:
        """Show the caller nothing any more of what is stored up to `seq`.

        Raises:
            NotFound: `unknown_chat`.
        """
        member = await present_member(self.chats, chat, caller)
        upto = min(seq, (await self.messages.head(chat)).seq)
        await self.chats.clear(chat, caller.id, upto)
        return ClearedUpTo(max(upto, member.cleared_seq))

    async def take_away(self, chat: str, message: str, *, everyone: bool, caller: Principal) -> None:
        """Delete a message for everyone, or hide it from the caller; again is as once.

        Raises:
            NotFound: `unknown_chat`, `unknown_target`.
            Forbidden: `read_only`, `not_yours`.
            BadInput: `too_old`.
            Unavailable: it may or may not have been done; doing it again is safe.
        """
        wish = Send(id=new_message_id(), type="delete" if everyone else "hide", target=message)
        await self.send(chat, encode(wish), caller=caller)

    async def pins(self, chat: str, *, caller: Principal) -> Pins:
        """What is pinned in a chat.

        Raises:
            NotFound: `unknown_chat`.
        """
        member = await present_member(self.chats, chat, caller)
        found = await self.messages.pinned(chat, MAX_PINS)
        return Pins(items=[views.seen_by(event, caller.id) for event in found if event.seq > member.cleared_seq])

    async def send(self, chat: str, payload: bytes, *, caller: Principal) -> tuple[Event, bool]:
        """Hand a message to the bridge and wait until it is stored (P1).

        The same id again stores nothing new (P4), but goes to the bridge again: the first try may have been stored without
        having been delivered.

        Args:
            payload: a `chat.envelopes.Send`, as it would be published over MQTT.

        Returns:
            the stored event, and whether it was stored by this call.

        Raises:
            BadInput: of `read_send`, or the bridge's refusal.
            NotFound: `unknown_chat`.
            Forbidden: `read_only`.
            Conflict: `id_taken`.
            Unavailable: the message may or may not have been stored; sending it again is safe.
        """
        wish = read_send(payload, max_bytes=self.max_send_bytes)
        member = await present_member(self.chats, chat, caller)
        topic = topics.send(chat, caller.id)
        if not permissions.may_send(member.role, wish.type):
            raise Forbidden("you may read this chat, not write it", code="read_only")
        repeat = wish.id in await self.messages.by_ids([wish.id])
        await self._hand_over(topic, payload)
        stored = (await self.messages.by_ids([wish.id])).get(wish.id)
        if stored is None:
            raise Unavailable("the message was not confirmed; send it again with the same id")
        if stored.chat != chat or stored.sender != caller.id:
            raise Conflict("this message id is taken", code="id_taken")
        return views.seen_by(stored, caller.id), not repeat

    async def _hand_over(self, topic: str, payload: bytes) -> None:
        try:
            async with asyncio.timeout(self.send_timeout):
                answer = await self.link.publish(
                    topic, payload, content_type="application/json", properties=tracing.outgoing()
                )
        except TimeoutError:
            raise Unavailable("the message was not confirmed in time; send it again with the same id") from None
        refused = refusal(answer)
        if refused is not None:
            raise refused

    async def _older(self, chat: str, before: int, limit: int, claim: Claim) -> HistoryPage:
        """A page of older events: one question to the database brings all but what came back to them."""
        members = self.progresses.named + 1
        opening = await self.openings.below(chat, members=members, before=before, limit=limit, sign_in=claim.sign_in)
        caller = claim.proven(signed_in=opening.signed_in)
        membership = await self.progresses.among(opening.members, chat, caller)
        page = self._reader(membership, opening.newest).below(opening.events)
        whole = bool(page.events) and page.events[0].seq >= before - limit  # a range with holes reaches farther down
        return await self._page(chat, page, membership, moves=opening.receipts if whole else None)

    async def _opened(self, chat: str, claim: Claim, *, first: int) -> tuple[Opening, Membership]:
        """One question to the database: whether the caller's sign-in holds, whether they are in the chat now, and what its page needs."""
        members = self.progresses.named + 1
        opening = await self.openings.opening(chat, members=members, first=first, sign_in=claim.sign_in)
        caller = claim.proven(signed_in=opening.signed_in)
        return opening, await self.progresses.among(opening.members, chat, caller)

    async def _recent(self, chat: str, query: HistoryQuery, claim: Claim) -> HistoryPage:
        """The newest page: if the copy of it is exact, one question to the database tells so and brings everything else."""
        copies = Copies(self.messages, self.recents)
        copy = await copies.get(chat)
        opening, membership = await self._opened(chat, claim, first=copy[0].seq if copy else MAX_SEQ)
        suffix, exact = await copies.confirmed(chat, copy, opening.newest)
        page = await self._reader(membership, opening.newest).newest(chat, query, suffix)
        whole = exact and bool(page.events) and page.events[0].seq >= suffix[0].seq
        return await self._page(chat, page, membership, moves=opening.receipts if whole else None)

    async def _page(
        self, chat: str, page: Slice, membership: Membership, *, moves: Sequence[Receipt] | None = None
    ) -> HistoryPage:
        items = await self._items(chat, page.events, membership, suffix=page.suffix, moves=moves)
        return HistoryPage(items=items, next=page.next, prev=page.prev)

    def _reader(self, membership: Membership, newest: Event | None = None) -> Reader:
        me, last = membership.me, newest.seq if newest is not None else 0
        return Reader(self.messages, viewer=me.user, floor=me.cleared_seq, last=last)

    async def _items(
        self,
        chat: str,
        events: Sequence[Event],
        membership: Membership,
        *,
        suffix: Sequence[Event] | None = None,
        moves: Sequence[Receipt] | None = None,
    ) -> list[HistoryItem]:
        """The events as the caller sees them, with what became of them and what came back to them.

        Args:
            suffix: the chat from the first of them on, where it is at hand: then nobody else has to be asked what came back.
            moves: the receipts from the first of them on, where they are at hand.
        """
        viewer = membership.me.user
        if suffix is None:
            messages = [event.id for event in events if event.type == "message"]
            states, echoes = await asyncio.gather(
                self.progresses.of(chat, events, membership, moves=moves), self.messages.echoes(chat, messages, viewer)
            )
        else:
            states = await self.progresses.of(chat, events, membership, moves=moves)
            echoes = folding.echoes(suffix, viewer)
        seen = [views.seen_by(event, viewer) for event in events]
        await self._conceal(seen, events, viewer)
        return [item(event, state, echoes) for event, state in zip(seen, states, strict=True)]

    async def _conceal(self, seen: Sequence[Event], stored: Sequence[Event], viewer: str) -> None:
        """An edit holds the words of its message: where that is deleted or hidden, they are not shown here either."""
        edits = [event for event in seen if event.type == "edit" and event.target is not None]
        if not edits:
            return
        targets = {event.id: event for event in stored if event.type == "message"}
        elsewhere = {edit.target for edit in edits if edit.target} - targets.keys()
        targets |= await self.messages.by_ids(sorted(elsewhere)) if elsewhere else {}
        for edit in edits:
            target = targets.get(edit.target or "")
            if target is not None:
                folding.conceal(edit, target, viewer)
