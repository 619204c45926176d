"""Which events are on a page of history: the newest ones from their copy, all others from the store.

A copy (`chat.history.Recents`) is believed as far as the store confirms it. The store is asked for the chat's newest event. If the copy ends with
that, it is exact (`chat.folding`); if it ends some events before it, these are fetched and added; else the newest events are read anew.
So a copy that is lost, late or old costs a query, and can't show what is edited, deleted or has expired meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from api.clock import now
from api.messages import moments
from api.messages.schemas import HistoryQuery
from chat.errors import NotFound, Unavailable
from chat.events import Event
from chat.folding import fold
from chat.history import RECENT, Recents
from chat.ids import check_message_id
from chat.ports import MessageStore

SCAN = 2_000
"""Slots that one page of few types may read; what is behind them is on the next page."""


def unknown_message() -> NotFound:
    """The one answer for what is not there, is in another chat, or is not for the reader's eyes."""
    return NotFound("there is no such message in this chat", code="unknown_message")


@dataclass(slots=True)
class Slice:
    """Stored events of one page, in order of `seq`.

    Attributes:
        next: pass it as `after` for newer events; None when there are none.
        prev: pass it as `before` for older ones.
        suffix: everything from the first event of the page to the chat's newest one; None when the page is not at its end.
    """

    events: list[Event]
    next: int | None = None
    prev: int | None = None
    suffix: list[Event] | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads pages for one member.

    Attributes:
        viewer: that member.
        floor: nothing up to this `seq` is shown to them.
        last: the chat's newest `seq`, when the request began.
    """

    messages: MessageStore
    viewer: str
    floor: int
    last: int

    async def page(self, chat: str, query: HistoryQuery) -> Slice:
        """The page that was asked for.

        Raises:
            NotFound: `unknown_message`: what it is to be around.
        """
        if query.around is not None:
            return await self._around(chat, query.around, query)
        if query.newest:
            return await self.newest(chat, query, [])
        after, before = query.after, query.before
        if query.since is not None:
            after = await moments.first_from(self.messages, chat, query.since, last=self.last) - 1
        if query.until is not None:
            before = await moments.first_from(self.messages, chat, query.until, last=self.last)
        if after is None:
            return await self._older(chat, query, before or 0)
        return await self._newer(chat, query, after, before)

    async def one(self, chat: str, message: str) -> Event:
        """One event, by its id.

        Raises:
            NotFound: `unknown_message`.
        """
        id_ = check_message_id(message)
        event = (await self.messages.by_ids([id_])).get(id_)
        if event is None or event.chat != chat or event.only not in (None, self.viewer) or event.seq <= self.floor:
            raise unknown_message()
        return event

    async def newest(self, chat: str, query: HistoryQuery, suffix: list[Event]) -> Slice:
        """The newest page.

        Args:
            suffix: of `Copies`, or nothing.
        """
        events = [event for event in suffix if event.seq > self.floor and self._wanted(event, query)]
        if len(events) < query.limit and (not suffix or suffix[0].seq > self.floor + 1):
            if query.type:
                found = await self._older(chat, query, self.last + 1)
                return Slice(found.events, None, found.prev)
            suffix = await self.messages.before(chat, None, query.limit)
            fold(suffix, now())
            events = [event for event in suffix if event.seq > self.floor]
        page = events[-query.limit :]
        first = page[0].seq if page else 0
        prev = self._prev(first) if len(page) == query.limit else None
        return Slice(page, None, prev, [event for event in suffix if event.seq >= first])

    def _wanted(self, event: Event, query: HistoryQuery) -> bool:
        return not query.type or (event.type in query.type and event.only in (None, self.viewer))

    def below(self, events: Sequence[Event]) -> Slice:
        """The page of all events before a `seq`.

        Args:
            events: these, as the store tells them.
        """
        return self._ending(events, events[0].seq if events else 0)

    async def _older(self, chat: str, query: HistoryQuery, before: int) -> Slice:
        return self._ending(*await self._below(chat, query, before, query.limit))

    def _ending(self, events: Sequence[Event], lowest: int) -> Slice:
        kept = [event for event in events if event.seq > self.floor]
        return Slice(kept, _next(kept, self.last), self._prev(lowest))

    async def _newer(self, chat: str, query: HistoryQuery, after: int, before: int | None) -> Slice:
        after = max(after, self.floor)
        events, highest = await self._above(chat, query, after, query.limit)
        if before is not None and highest >= before - 1:
            events = [event for event in events if event.seq < before]
            highest = events[-1].seq if events else self.last
        return Slice(events, highest if highest < self.last else None, self._prev(events[0].seq) if events else None)

    async def _around(self, chat: str, message: str, query: HistoryQuery) -> Slice:
        centre = await self.one(chat, message)
        room = query.limit // 2
        (older, lowest), (newer, highest) = await asyncio.gather(
            self._below(chat, query, centre.seq, room),
            self._above(chat, query, centre.seq, query.limit - room - 1),
        )
        events = [event for event in older if event.seq > self.floor] + [centre, *newer]
        return Slice(events, highest if highest < self.last else None, self._prev(lowest))

    async def _below(self, chat: str, query: HistoryQuery, before: int, limit: int) -> tuple[list[Event], int]:
        """At most `limit` events before a `seq`, rising, and the lowest `seq` that was looked at."""
        if limit < 1:
            return [], before
        if not query.type:
            events = await self.messages.before(chat, before, limit)
            return events, events[0].seq if events else 0
        above = max(self.floor, before - 1 - SCAN)
        events = await self.messages.typed(
            chat, query.type, self.viewer, above=above, below=before, limit=limit, newest=True
        )
        return events, events[0].seq if len(events) == limit else above + 1

    async def _above(self, chat: str, query: HistoryQuery, after: int, limit: int) -> tuple[list[Event], int]:
        """At most `limit` events after a `seq`, rising, and the highest `seq` that was looked at."""
        if limit < 1:
            return [], after
        if not query.type:
            events = await self.messages.after(chat, after, limit)
            return events, events[-1].seq if events else after
        below = after + SCAN + 1
        events = await self.messages.typed(
            chat, query.type, self.viewer, above=after, below=below, limit=limit, newest=False
        )
        return events, events[-1].seq if len(events) == limit else below - 1

    def _prev(self, lowest: int) -> int | None:
        return lowest if lowest > self.floor + 1 else None


@dataclass(frozen=True, slots=True)
class Copies:
    """The newest events of chats, from their copies as far as the store confirms them."""

    messages: MessageStore
    recents: Recents

    async def get(self, chat: str) -> list[Event]:
        """The copy, of any age; nothing when there is none, or Valkey does not answer."""
        try:
            return await self.recents.get(chat)
        except Unavailable:
            return []

    async def confirmed(self, chat: str, copy: list[Event], newest: Event | None) -> tuple[list[Event], bool]:
        """The newest events of a chat, up to date, dense, at least one unless the chat is empty; and whether the copy was exact.

        Args:
            copy: what `get` brought; changed by this.
            newest: the chat's newest event, read from the store since this request began.
        """
        if newest is None:
            return [], False
        known = copy[-1] if copy else None
        if known is not None and (known.seq, known.id) == (newest.seq, newest.id):
            fold(copy, now())
            return copy, True
        fresh: list[Event] = []
        if known is not None and known.seq < newest.seq < known.seq + RECENT:
            fresh = await self.messages.after(chat, known.seq - 1, RECENT + 1)
        if known is not None and fresh and fresh[0].id == known.id:
            fresh = [*copy[:-1], *fresh]
        else:  # no copy, one that is too old, or one of a history that was lost
            fresh = await self.messages.before(chat, None, RECENT)
        fresh = _dense(fresh)[-RECENT:]
        fold(fresh, now())
        with contextlib.suppress(Unavailable):  # told by the adapter
            await self.recents.put(chat, fresh)
        return fresh, False


def _next(events: Sequence[Event], last: int) -> int | None:
    return events[-1].seq if events and events[-1].seq < last else None


def _dense(events: list[Event]) -> list[Event]:
    """The end of a list without holes: a hole may yet be filled, below a newest event that stays the same."""
    for place in range(len(events) - 1, 0, -1):
        if events[place - 1].seq != events[place].seq - 1:
            return events[place:]
    return events
