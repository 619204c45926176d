"""Messages that wait for their acknowledgement, in order and bounded: pure but for the futures of those who wait.

An entry is *under way* (handed to the connection, which resends it across reconnects), or waits for its turn or its next try.
Nothing overtakes an entry that waits, so what one client sends keeps its order unless the server itself took a later one first.

A chat that is told to be too fast is *slow* until nothing of it waits any more: after a pause its entries go out one by one, in their order,
and after each further such answer the pause is longer. Other chats pass by it meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from clients.python.errors import ClientError, OutboxFull
from clients.python.pacing import backoff


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is stored (promise P1)."""

    id: str


@dataclass(slots=True)
class Entry:
    """One message in the outbox; `stored` completes with its acknowledgement."""

    id: str
    chat: str
    payload: bytes
    stored: Future[Sent] = field(default_factory=Future)
    under_way: bool = False
    rejected: bool = False
    not_before: float = 0.0
    tries: int = 0

    def complete(self, error: ClientError | None = None) -> None:
        """Tell whoever waits that it is stored, or why it will not be. Runs the future's callbacks: hold no lock."""
        if not self.stored.set_running_or_notify_cancel():
            return
        if error is None:
            self.stored.set_result(Sent(self.id))
        else:
            self.stored.set_exception(error)


@dataclass(frozen=True, slots=True)
class Slowed:
    """The server finds that too much is sent. Nothing is lost: what waits is sent again, in order.

    Attributes:
        chat: in which; other chats go on.
        wait: seconds until the next try there.
        code: `rate_limited`, or `chat_rate_limited` when all of its members together are too fast.
    """

    chat: str
    wait: float
    code: str


@dataclass(slots=True)
class _Pace:
    """Of a slow chat."""

    not_before: float = 0.0
    tries: int = 0


class Outbox:
    """See the module.

    Args:
        limit: how many messages wait at most.
        delay: seconds before the next try, by number of the try that failed.
    """

    def __init__(self, limit: int, *, delay: Callable[[int], float] = backoff) -> None:
        self._limit = limit
        self._delay = delay
        self._entries: dict[str, Entry] = {}
        self._slow: dict[str, _Pace] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ids(self) -> list[str]:
        """Ids of the messages that wait, in order."""
        return list(self._entries)

    def add(self, message_id: str, chat: str, payload: bytes) -> Entry:
        """Queue a message; an id that waits already is not queued twice: its entry is the answer.

        Raises:
            OutboxFull: as many wait as may.
        """
        entry = self._entries.get(message_id)
        if entry is not None:
            return entry
        if len(self._entries) >= self._limit:
            raise OutboxFull(f"{self._limit} messages wait for their acknowledgement already")
        entry = self._entries[message_id] = Entry(message_id, chat, payload)
        return entry

    def next(self, now: float) -> Entry | None:
        """The next entry to hand to the connection, and with that it is under way; None when none is due."""
        busy = self._busy()
        for entry in self._entries.values():
            if not entry.under_way and entry.chat not in busy:
                if entry.chat in self._slow and self._slow[entry.chat].not_before > now:
                    continue
                if entry.not_before > now:
                    return None
                entry.under_way = True
                return entry
        return None

    def due(self) -> float | None:
        """When `next` has something; None when everything is under way."""
        busy = self._busy()
        soonest: float | None = None
        for entry in self._entries.values():
            if entry.under_way or entry.chat in busy:
                continue
            pace = self._slow.get(entry.chat, _Pace())
            at = max(entry.not_before, pace.not_before)
            soonest = at if soonest is None else min(soonest, at)
            if entry.not_before >= pace.not_before:
                break  # nothing overtakes this one
        return soonest

    def _busy(self) -> set[str]:
        """Slow chats of which one entry is under way already."""
        if not self._slow:
            return set()
        return {entry.chat for entry in self._entries.values() if entry.under_way and entry.chat in self._slow}

    def pop(self, message_id: str) -> Entry | None:
        """Take an entry out: it was answered for good. The caller completes it."""
        entry = self._entries.pop(message_id, None)
        if entry is not None and entry.chat in self._slow:
            self._slow[entry.chat].tries = 0
            if all(other.chat != entry.chat for other in self._entries.values()):
                del self._slow[entry.chat]
        return entry

    def again(self, message_id: str, now: float) -> None:
        """It could not be stored now: the same bytes are tried again after a while."""
        entry = self._entries.get(message_id)
        if entry is not None:
            entry.under_way = False
            entry.not_before = now + self._delay(entry.tries)
            entry.tries += 1

    def slow(self, message_id: str, code: str, now: float, *, rejected: bool = False) -> Slowed | None:
        """It came too fast: the same bytes are tried again, and until then its chat waits.

        Args:
            rejected: it was told on the inbox, and an acknowledgement that says nothing is still to come (MQTT 3.1.1).

        Returns:
            what to tell; None when that is known already (several were under way together), or nothing waits.
        """
        entry = self._entries.get(message_id)
        if (
            entry is None or not entry.under_way
        ):  # told twice (an inbox is at least once): no acknowledgement is to come
            return None
        entry.under_way = False
        entry.rejected = rejected
        pace = self._slow.setdefault(entry.chat, _Pace())
        if pace.not_before > now:
            return None
        wait = self._delay(pace.tries)
        pace.not_before = now + wait
        pace.tries += 1
        return Slowed(entry.chat, wait, code)

    def was_rejected(self, message_id: str) -> bool:
        """Whether the acknowledgement that comes now is the one that says nothing (`slow`)."""
        entry = self._entries.get(message_id)
        if entry is None or not entry.rejected:
            return False
        entry.rejected = False
        return True
