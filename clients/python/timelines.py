"""The timelines of every joined chat together: what is ready, what is missing, and the sync requests that follow. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from chat.envelopes import Event, Reset, SyncPage, SyncRequest
from clients.python.pacing import backoff
from clients.python.timeline import Ask, Restart, Timeline

MAX_CURSORS = 500
"""Cursors in one sync request: half of what the server takes."""


class Timelines:
    """See the module.

    Args:
        hold: events kept per chat at most.
        page: events per sync page.
        delay: see `Timeline`.
    """

    def __init__(self, *, hold: int = 500, page: int = 100, delay: Callable[[int], float] = backoff) -> None:
        self._hold = hold
        self._page = page
        self._delay = delay
        self._chats: dict[str, Timeline] = {}
        self._live: set[str] = set()
        self._wanting: set[str] = set()
        self._ready: dict[str, None] = {}  # an ordered set: chats take turns
        self._requests = itertools.count(1)

    def __contains__(self, chat: str) -> bool:
        return chat in self._chats

    def __iter__(self) -> Iterator[str]:
        return iter(self._chats)

    def add(self, chat: str, cursor: int | None) -> None:
        """Start a chat behind `cursor` (None: behind its newest event), in place of an older start. It asks once it is `live`."""
        self._chats[chat] = Timeline(chat, cursor, hold=self._hold, page=self._page, delay=self._delay)
        self._settle(chat)

    def remove(self, chat: str) -> None:
        """Forget a chat and what is held of it."""
        self._chats.pop(chat, None)
        self._live.discard(chat)
        self._settle(chat)

    def live(self, chats: Iterable[str]) -> None:
        """The subscriptions of these chats stand: what was missed before can be asked for."""
        for chat in chats:
            if chat in self._chats:
                self._live.add(chat)
                self._chats[chat].unsure()
                self._settle(chat)

    def away(self) -> None:
        """No chat's subscription stands any more."""
        self._live.clear()
        self._wanting.clear()

    def idle(self, chat: str) -> bool:
        """Whether the chat is caught up with, or is full and waits for `take`."""
        return chat in self._live and chat not in self._wanting

    def cursor(self, chat: str) -> int:
        """The last `seq` of the chat that was taken; 0 when there is none."""
        timeline = self._chats.get(chat)
        return timeline.cursor if timeline else 0

    def whole(self, chat: str) -> int:
        """The `seq` up to which every event of the chat has arrived; 0 when nothing has."""
        timeline = self._chats.get(chat)
        return timeline.cursor + timeline.ready if timeline else 0

    def put(self, event: Event) -> bool:
        """A live event. False when its chat is not joined."""
        timeline = self._chats.get(event.chat)
        if timeline is None:
            return False
        timeline.put(event)
        self._settle(event.chat)
        return True

    def page(self, page: SyncPage, now: float) -> Restart | None:
        """An answer to a sync request."""
        timeline = self._chats.get(page.chat)
        if timeline is None:
            return None
        restart = timeline.page(page, now)
        self._settle(page.chat)
        return restart

    def reset(self, reset: Reset) -> Restart | None:
        """A cursor was refused; with `unknown_chat` the chat is forgotten."""
        timeline = self._chats.get(reset.chat)
        if timeline is None:
            return None
        if reset.reason == "unknown_chat":
            self.remove(reset.chat)
            return Restart(reset.chat, reset.reason, None)
        restart = timeline.reset(reset)
        self._settle(reset.chat)
        return restart

    def take(self) -> Event | None:
        """The next event of any chat, taking turns between chats; None when none is ready."""
        while self._ready:
            chat = next(iter(self._ready))
            del self._ready[chat]
            timeline = self._chats.get(chat)
            taken = timeline.take() if timeline else []
            if taken:
                self._settle(chat)
                return taken[0]
        return None

    def requests(self, now: float) -> list[SyncRequest]:
        """The sync requests to send now, and with that their answers are awaited."""
        if not self._wanting or min(self._chats[chat].not_before for chat in self._wanting) > now:
            return []
        word = str(next(self._requests))
        asks = [ask for chat in sorted(self._wanting) if (ask := self._chats[chat].ask(now, word))]
        by_limit: dict[int, list[Ask]] = {}
        for ask in asks:
            by_limit.setdefault(ask.limit, []).append(ask)
        return [
            SyncRequest(
                cursors={ask.chat: ask.cursor for ask in group[start : start + MAX_CURSORS]}, req=word, limit=limit
            )
            for limit, group in by_limit.items()
            for start in range(0, len(group), MAX_CURSORS)
        ]

    def due(self) -> float | None:
        """When `requests` will have something next, unless an answer comes first; None when nothing is missing."""
        return min((self._chats[chat].not_before for chat in self._wanting), default=None)

    def _settle(self, chat: str) -> None:
        """Keep the two lists that make `take` and `requests` cheap in step with one timeline."""
        timeline = self._chats.get(chat)
        if timeline is not None and timeline.ready:
            self._ready.setdefault(chat)
        if timeline is not None and timeline.wants and chat in self._live:
            self._wanting.add(chat)
        else:
            self._wanting.discard(chat)
