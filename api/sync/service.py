"""Catching up over REST: the rules are `chat.sync`, the same as over MQTT."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from api.sync.schemas import SyncAnswer
from chat import sync, views
from chat.envelopes import Reset, SyncPage, SyncRequest, check_sync
from chat.errors import BadInput
from chat.models import Head, Principal
from chat.ports import ChatStore, MessageStore

MAX_EVENTS = 500
"""Events of one answer, all chats together, so that its size is bounded; the chats behind that are `limited`, at their own cursor."""


@dataclass(frozen=True, slots=True)
class SyncService:
    """The decisions of `/v1/sync`."""

    chats: ChatStore
    messages: MessageStore

    async def catch_up(self, cursors: Sequence[str], limit: int, *, caller: Principal) -> SyncAnswer:
        """What was missed behind each cursor.

        Args:
            cursors: `{chat}:{seq}`.

        Raises:
            BadInput: a chat is named twice.
            InvalidEnvelope: bounds of `check_sync`.
        """
        request = SyncRequest(cursors=_read(cursors), limit=limit)
        check_sync(request)
        mine = await self.chats.memberships_among([(chat, caller.id) for chat in request.cursors])
        chats = [chat for chat, _ in mine]
        heads, cleared = await asyncio.gather(self.messages.heads(chats), self.chats.cleared(caller.id, chats))
        items: list[SyncPage | Reset] = []
        room = MAX_EVENTS
        for chat, cursor in request.cursors.items():
            member = (chat, caller.id) in mine
            page = await self._page(chat, cursor, heads.get(chat, Head()), min(limit, room), member=member)
            if isinstance(page, SyncPage):
                floor = cleared.get(chat, 0)
                page.events = [views.caught_up(event, caller.id, floor) for event in page.events]
            room -= len(page.events) if isinstance(page, SyncPage) else 0
            items.append(page)
        return SyncAnswer(items=items)

    async def _page(self, chat: str, cursor: int, head: Head, limit: int, *, member: bool) -> SyncPage | Reset:
        """As it is stored, for nobody yet."""
        reason = sync.reset_reason(cursor, head, member=member)
        if reason is not None:
            return Reset(chat=chat, reason=reason)
        if cursor < head.seq and limit == 0:
            return SyncPage(chat=chat, events=[], next=cursor, limited=True, last=head.seq)
        events = await self.messages.after(chat, cursor, limit) if cursor < head.seq else []
        return sync.page(chat, cursor, events, head, limit=limit)


def _read(cursors: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for cursor in cursors:
        chat, _, seq = cursor.partition(":")
        if chat in found:
            raise BadInput("one chat has one cursor", code="invalid_cursor")
        found[chat] = int(seq)
    return found
