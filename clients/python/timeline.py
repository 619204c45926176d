"""One chat's events in order, whatever order they arrive in: pure, no clock and no socket of its own.

Events come in by `put` (live, in any order, repeated or lost) and by `page` (answers to sync requests); they go out by `take`,
each once, in order of `seq` without holes. What is missing is asked for: `ask` says from where, once per answer, and again
when no answer comes. Memory is bounded: at most `hold` events are kept; what does not fit is forgotten and asked for later.

Where a timeline starts (`Base`):

| base | means | leaves it when |
|---|---|---|
| KNOWN | the cursor is known | a reset says that it can't be used → SOUGHT |
| SOUGHT | the newest `seq` is asked for, to start behind it | a page tells it → KNOWN; a reset → OPEN |
| OPEN | the server can't tell | the next live event → KNOWN; `unsure` → SOUGHT |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from chat.envelopes import Event, Reset, SyncPage
from clients.python.pacing import backoff


class Base(StrEnum):
    """Whether it is known where the timeline starts."""

    KNOWN = "known"
    SOUGHT = "sought"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Ask:
    """A wish to sync: the events behind `cursor`, at most `limit` of them."""

    chat: str
    cursor: int
    limit: int


@dataclass(frozen=True, slots=True)
class Restart:
    """The cursor could not be used: forget what is kept of the chat and read its history anew.

    Attributes:
        reason: the server's word: `ahead`, `too_old`, or `unknown_chat` (no member any more; nothing more will come).
        head: events behind this `seq` follow by themselves, the older ones are in the history; None when the server can't tell:
            read the history, then `join` again with its last `seq` as the cursor.
    """

    chat: str
    reason: str
    head: int | None


class Timeline:
    """See the module.

    Args:
        chat: its id.
        cursor: the last `seq` that the app has; None to start behind the newest one.
        hold: how many events are kept at most, those that are ready and those that wait for a gap together.
        page: how many events one sync asks for.
        delay: seconds to wait for an answer, or after one that brought nothing, by number of the try.
    """

    def __init__(
        self,
        chat: str,
        cursor: int | None,
        *,
        hold: int = 500,
        page: int = 100,
        delay: Callable[[int], float] = backoff,
    ) -> None:
        self.chat = chat
        self.repeats = 0
        """Events that came more than once."""
        self.dropped = 0
        """Events that were forgotten for want of room, to be asked for again."""
        self._hold = hold
        self._page = min(page, hold)
        self._delay = delay
        self._base = Base.SOUGHT
        self._held: dict[int, Event] = {}
        self._cursor = self._tip = self._last = 0  # taken up to, whole up to, heard of up to
        self._unsure = True
        self._reason: str | None = None
        self._request: str | None = None
        self._not_before = 0.0
        self._tries = 0
        if cursor is not None:
            self._start(cursor)

    @property
    def cursor(self) -> int:
        """The last `seq` that was taken; 0 while that is nothing or not known."""
        return self._cursor

    @property
    def ready(self) -> int:
        """How many events can be taken now."""
        return self._tip - self._cursor

    @property
    def held(self) -> int:
        """How many events are kept in memory; never more than `hold`."""
        return len(self._held)

    @property
    def wants(self) -> bool:
        """Whether something is missing, or may be, and there is room for it."""
        if self._base is not Base.KNOWN:
            return self._base is Base.SOUGHT
        room = self._hold - self.ready >= self._page or self.ready == 0
        return room and (self._unsure or self._last > self._tip)

    @property
    def not_before(self) -> float:
        """When `ask` may ask again, on the clock that its `now` comes from."""
        return self._not_before

    def unsure(self) -> None:
        """The connection was away, so something may have been missed: ask even without a visible gap, and at once."""
        if self._base is Base.OPEN:
            self._reason = self._reason or "too_old"  # so that the app hears of it again
            self._seek()
        self._unsure = True
        self._request = None  # an answer to a question from before says nothing about the time since
        self._not_before = 0.0
        self._tries = 0

    def put(self, event: Event) -> None:
        """An event, from wherever it came."""
        if self._base is Base.OPEN:
            self._start(event.seq - 1)
        if (self._base is Base.KNOWN and event.seq <= self._tip) or event.seq in self._held:
            self.repeats += 1
            return
        self._last = max(self._last, event.seq)
        if len(self._held) >= self._hold:
            self._drop_behind_gap()
        if len(self._held) >= self._hold:
            self.dropped += 1
            return
        self._held[event.seq] = event
        self._advance()

    def take(self, limit: int = 1) -> list[Event]:
        """The next events, in order, at most `limit`; each is handed out once."""
        until = min(self._tip, self._cursor + limit)
        taken = [self._held.pop(seq) for seq in range(self._cursor + 1, until + 1)]
        self._cursor = until
        return taken

    def ask(self, now: float, request: str) -> Ask | None:
        """What to ask the server for now; None for nothing, or because an answer is still awaited.

        Args:
            now: seconds on any steady clock.
            request: a word that the answer will carry as `req`.
        """
        if not self.wants or now < self._not_before:
            return None
        self._request = request
        self._wait(now)
        if self._base is Base.SOUGHT:
            return Ask(self.chat, 0, 1)
        return Ask(self.chat, self._tip, self._page)

    def page(self, page: SyncPage, now: float) -> Restart | None:
        """An answer (late and repeated ones are welcome). Returns a restart that has found its head."""
        answered = page.req is not None and page.req == self._request
        if self._base is not Base.KNOWN:
            return self._found(page.last) if answered and self._base is Base.SOUGHT else None
        before = self._tip
        for event in page.events:
            self.put(event)
        self._last = max(self._last, page.last)
        if answered:
            self._request = None
            self._unsure = False
            if self._tip > before:
                self._tries = 0
                self._not_before = now
            else:
                # An answer that brought nothing although something is missing (a lagging read): ask again, but not at once.
                self._wait(now)
        return None

    def reset(self, reset: Reset) -> Restart | None:
        """The cursor can't be used. Returns the restart if it is complete already (no head to be found)."""
        if reset.req is not None and reset.req != self._request:
            return None  # of an older question, which has been asked anew since
        if self._base is not Base.SOUGHT:
            self._reason = reset.reason
            self._seek()
            return None
        self._base = Base.OPEN
        reason = self._reason
        if self._held:
            self._start(min(self._held) - 1)
        self._reason = None
        return Restart(self.chat, reason, None) if reason else None

    def _seek(self) -> None:
        self._base = Base.SOUGHT
        self._held.clear()
        self._cursor = self._tip = self._last = 0
        self._unsure = True
        self._request = None
        self._not_before = 0.0
        self._tries = 0

    def _found(self, head: int) -> Restart | None:
        self._start(head)
        self._unsure = False
        self._request = None
        reason, self._reason = self._reason, None
        return Restart(self.chat, reason, head) if reason else None

    def _start(self, cursor: int) -> None:
        self._base = Base.KNOWN
        self._cursor = self._tip = cursor
        self._last = max(self._last, cursor)
        self._tries = 0
        self._not_before = 0.0
        for seq in [seq for seq in self._held if seq <= cursor]:
            del self._held[seq]
        self._advance()

    def _advance(self) -> None:
        if self._base is Base.KNOWN:
            while self._tip + 1 in self._held:
                self._tip += 1

    def _drop_behind_gap(self) -> None:
        """Forget what can't be taken yet; `_last` remembers that it exists, so it is asked for."""
        for seq in [seq for seq in self._held if seq > self._tip]:
            del self._held[seq]
            self.dropped += 1

    def _wait(self, now: float) -> None:
        self._not_before = now + self._delay(self._tries)
        self._tries += 1
