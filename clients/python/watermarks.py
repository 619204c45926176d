"""What this client wants to tell of what it has received and seen, coalesced: one acknowledgement under way per chat. Pure."""

from __future__ import annotations

from collections.abc import Callable

from chat.envelopes import Ack
from chat.watermarks import Watermark
from clients.python.pacing import backoff


class OwnWatermarks:
    """Watermarks to tell, per chat. They only rise, so only the newest wish of a chat is kept.

    Args:
        delay: seconds before the next try, by number of the try that failed.
    """

    def __init__(self, *, delay: Callable[[int], float] = backoff) -> None:
        self._delay = delay
        self._wanted: dict[str, Watermark] = {}
        self._told: dict[str, Watermark] = {}
        self._dirty: dict[str, None] = {}  # an ordered set
        self._under_way: set[str] = set()
        self._not_before = 0.0
        self._tries = 0

    def want(self, chat: str, *, delivered: int = 0, seen: int = 0) -> None:
        """Tell the chat, as soon as possible, that everything up to these `seq` was received and seen."""
        old = self._wanted.get(chat, Watermark())
        seen = max(old.seen, seen)
        new = Watermark(delivered=max(old.delivered, delivered, seen), seen=seen)
        if new != old:
            self._wanted[chat] = new
            self._dirty.setdefault(chat)

    def next(self, now: float) -> tuple[str, Ack] | None:
        """The next acknowledgement to publish, and with that it is under way; None when none is due."""
        chat = self._free() if now >= self._not_before else None
        if chat is None:
            return None
        del self._dirty[chat]
        self._under_way.add(chat)
        wanted, told = self._wanted[chat], self._told.get(chat, Watermark())
        self._told[chat] = wanted
        seen = wanted.seen if wanted.seen > told.seen else None
        delivered = wanted.delivered if wanted.delivered > max(told.delivered, seen or 0) else None
        return chat, Ack(delivered=delivered, seen=seen)

    def due(self) -> float | None:
        """When `next` has something; None when there is nothing to tell."""
        return self._not_before if self._free() is not None else None

    def done(self, chat: str) -> None:
        """The one under way was answered, for good."""
        self._under_way.discard(chat)
        self._tries = 0

    def again(self, chat: str, now: float) -> None:
        """The one under way could not be taken now: try again after a while."""
        self._under_way.discard(chat)
        if chat in self._wanted:
            self._told.pop(chat, None)
            self._dirty.setdefault(chat)
        self._not_before = now + self._delay(self._tries)
        self._tries += 1

    def forget(self, chat: str) -> None:
        """The chat was left."""
        self._wanted.pop(chat, None)
        self._told.pop(chat, None)
        self._dirty.pop(chat, None)

    def _free(self) -> str | None:
        return next((chat for chat in self._dirty if chat not in self._under_way), None)
