"""Lines per chat, from which batches are taken: the rule that batches of one chat never overtake each other, pure.

A chat is in one of three states: it has no line (nothing waits), its line is *ready* (the next batch may take of it), or its
line is *held* (a batch under way has messages of it; what comes meanwhile waits behind).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from chat.ports import Delivery


class Arrival(msgspec.Struct, gc=False):
    """A message that came in on `chats/{chat}/send/{sender}`; `at` is when, in seconds of the loop's clock."""

    delivery: Delivery
    chat: str
    sender: str
    at: float


class Gatherer:
    """Waiting messages.

    Args:
        batch: messages per batch at most.
        per_chat: of one chat per batch at most, so that a loud chat does not fill every batch.
        bound: messages that wait at most.
    """

    def __init__(self, *, batch: int, per_chat: int, bound: int) -> None:
        self._batch = batch
        self._per_chat = per_chat
        self._bound = bound
        self._ready: dict[str, deque[Arrival]] = {}
        self._held: dict[str, deque[Arrival]] = {}
        self._size = 0
        self._takeable = 0

    def __len__(self) -> int:
        return self._size

    @property
    def takeable(self) -> int:
        """How many messages stand in lines that are ready."""
        return self._takeable

    def add(self, arrival: Arrival) -> bool:
        """Put a message at the end of its chat's line; False when too many wait already."""
        if self._size >= self._bound:
            return False
        self._size += 1
        line = self._held.get(arrival.chat)
        if line is None:
            line = self._ready.get(arrival.chat)
            if line is None:
                line = self._ready[arrival.chat] = deque()
            self._takeable += 1
        line.append(arrival)
        return True

    def take(self) -> list[Arrival]:
        """The next batch, oldest chats first, each chat's messages in order; empty when nothing is ready.

        The chats that it holds are held until `release`.
        """
        batch: list[Arrival] = []
        while self._ready and (room := self._batch - len(batch)) > 0:
            chat = next(iter(self._ready))
            line = self._held[chat] = self._ready.pop(chat)
            self._takeable -= len(line)
            batch += [line.popleft() for _ in range(min(len(line), self._per_chat, room))]
        self._size -= len(batch)
        return batch

    def release(self, chats: Iterable[str]) -> None:
        """A batch is through: what waited behind it is ready, at the end of the queue of chats."""
        for chat in chats:
            line = self._held.pop(chat)
            if line:
                self._ready[chat] = line
                self._takeable += len(line)
