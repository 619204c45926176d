"""History with the status of each message, and sending over REST."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from api.access import present_member
from api.messages.refusals import refusal
from api.messages.schemas import HistoryPage, HistoryQuery, Pins, item
from chat import permissions, privacy, topics, views
from chat.envelopes import Event, read_send
from chat.errors import Conflict, Forbidden, Unavailable
from chat.models import Principal, Receipt
from chat.ports import ChatStore, Link, MessageStore, ReceiptStore
from chat.status import Audience, Status, progress

MAX_PINS = 100
"""Shown at once."""


@dataclass(frozen=True, slots=True)
class MessageService:
    """The decisions of `/v1/chats/{chat}/messages`.

    Attributes:
        send_timeout: seconds that a send waits for its PUBACK.
    """

    messages: MessageStore
    chats: ChatStore
    receipts: ReceiptStore
    link: Link
    max_send_bytes: int
    send_timeout: float

    async def history(self, chat: str, query: HistoryQuery, *, caller: Principal) -> HistoryPage:
        """One page of events, in order of `seq`.

        Raises:
            NotFound: `unknown_chat`.
        """
        await present_member(self.chats, chat, caller)
        events, head, members = await asyncio.gather(
            self._events(chat, query), self.messages.head(chat), self.chats.members(chat)
        )
        audience = Audience(privacy.shown_to(caller.id, members))
        states = progress(events, audience, await self._moves(chat, events, audience))
        return HistoryPage(
            items=[item(views.seen_by(event, caller.id), state) for event, state in zip(events, states, strict=True)],
            next=events[-1].seq if events and events[-1].seq < head.seq else None,
            prev=events[0].seq if events and events[0].seq > 1 else None,
        )

    async def pins(self, chat: str, *, caller: Principal) -> Pins:
        """What is pinned in a chat.

        Raises:
            NotFound: `unknown_chat`.
        """
        await present_member(self.chats, chat, caller)
        found = await self.messages.pinned(chat, MAX_PINS)
        return Pins(items=[views.seen_by(event, caller.id) for event in found])

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
        facts = permissions.Facts(member=member)
        if not permissions.allows(caller, permissions.Action.PUBLISH, topics.parse(topic), facts):
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
                answer = await self.link.publish(topic, payload, content_type="application/json")
        except TimeoutError:
            raise Unavailable("the message was not confirmed in time; send it again with the same id") from None
        refused = refusal(answer)
        if refused is not None:
            raise refused

    async def _events(self, chat: str, query: HistoryQuery) -> list[Event]:
        if query.after is None:
            return await self.messages.before(chat, query.before, query.limit)
        events = await self.messages.after(chat, query.after, query.limit)
        return [event for event in events if query.before is None or event.seq < query.before]

    async def _moves(self, chat: str, events: Sequence[Event], audience: Audience) -> list[Receipt]:
        """The log rows that the times of these events need; none while nothing has been delivered."""
        slots = [event.seq for event in events if audience.status(event) is not Status.SENT]
        return await self.receipts.reached(chat, slots[0], slots[-1]) if slots else []
