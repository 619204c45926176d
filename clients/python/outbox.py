"""Messages that wait for their acknowledgement, in order and bounded: pure but for the futures of those who wait.

An entry is *under way* (handed to the connection, which resends it across reconnects), or waits for its turn or its next try.
Nothing overtakes an entry that waits, so what one client sends keeps its order unless the server itself took a later one first.
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
        for entry in self._entries.values():
            if not entry.under_way:
                if entry.not_before > now:
                    return None
                entry.under_way = True
                return entry
        return None

    def due(self) -> float | None:
        """When `next` has something; None when everything is under way."""
        return next((entry.not_before for entry in self._entries.values() if not entry.under_way), None)

    def pop(self, message_id: str) -> Entry | None:
        """Take an entry out: it was answered for good. The caller completes it."""
        return self._entries.pop(message_id, None)

    def again(self, message_id: str, now: float) -> None:
        """It could not be stored now: the same bytes are tried again after a while."""
        entry = self._entries.get(message_id)
        if entry is not None:
            entry.under_way = False
            entry.not_before = now + self._delay(entry.tries)
            entry.tries += 1
