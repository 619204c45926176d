"""Ports of history: what is read of stored events beyond the pages of `MessageStore`, and the copies of recent ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from chat.events import Event
from chat.folding import Echoes
from chat.models import Member, Receipt

RECENT = 60
"""Events of a chat that are kept where they are fast: a page of 50, and what was written since it was last asked for."""


class Crowd(msgspec.Struct, frozen=True):
    """How many people of a large chat are at one point.

    Attributes:
        joined: their `joined_seq`, or the top of the range if it is behind that.
        delivered, seen: their watermarks, or the nearest end of the range; who hides what they have seen has seen nothing.
        count: of them.
    """

    joined: int
    delivered: int
    seen: int
    count: int


class HistoryStore(Protocol):
    """Reading stored events in other ways than by `seq`."""

    async def times(self, chat: str, seqs: Sequence[int]) -> dict[int, datetime]:
        """When the given slots were stored; without those that are empty."""
        ...

    async def typed(
        self, chat: str, types: Collection[str], viewer: str, *, above: int, below: int, limit: int, newest: bool
    ) -> list[Event]:
        """Events of some types that `viewer` may see, with `above < seq < below`, rising.

        Every slot of the range may be read: keep it small.

        Args:
            newest: those at the upper end, when there are more than `limit`; else those at the lower.
        """
        ...

    async def replies(self, chat: str, root: str, viewer: str, *, above: int, limit: int) -> list[Event]:
        """Messages that answer `root` and that `viewer` may see, with `seq > above`, rising."""
        ...

    async def echoes(self, chat: str, ids: Collection[str], viewer: str) -> Echoes:
        """What came back to some messages of a chat, as `chat.folding.echoes` tells it of all events of the chat."""
        ...


class AudienceStore(Protocol):
    """What history needs of the members of a chat, beyond their rows."""

    async def clear(self, chat: str, user: str, seq: int) -> None:
        """Note that a present member does not want to see what is stored up to `seq`; it only rises."""
        ...

    async def crowds(self, chat: str, first: int, last: int) -> list[Crowd]:
        """Where the present people of a large chat are, as far as the events from `first` to `last` are concerned; devices do not count."""
        ...


MAX_MOVES = 2_000
"""Receipts that an `Opening` holds at most."""


class Opening(msgspec.Struct):
    """What the newest page of a chat needs of the store, when its events are at hand.

    Attributes:
        members: present members by id, at most as many as were asked for.
        newest: the newest event; None in an empty chat.
        receipts: those with `seq` from the one that was asked for; None when there are more than `MAX_MOVES`.
    """

    members: list[Member]
    newest: Event | None
    receipts: list[Receipt] | None


class OpeningStore(Protocol):
    """Everything for the newest page in one question: the way to the database costs more than the answer."""

    async def opening(self, chat: str, *, members: int, first: int) -> Opening:
        """The members, the newest event, and the receipts from `first` on."""
        ...


class Recents(Protocol):
    """Copies of the newest events of chats, which may be lost, late or old: `chat.folding` tells how they are used exactly.

    Raises:
        Unavailable: ask the store.
    """

    async def get(self, chat: str) -> list[Event]:
        """The copy of a suffix that the chat had some time ago, dense and rising; empty when there is none."""
        ...

    async def put(self, chat: str, events: Sequence[Event]) -> None:
        """Keep a copy. Who puts an older one over a newer one costs the next reader a query, and nothing else."""
        ...

    async def forget(self, chats: Sequence[str]) -> None:
        """Throw copies away: what they say has been erased without an event that tells of it."""
        ...
