"""Ports of history: what is read of stored events beyond the pages of `MessageStore`, and the copies of recent ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from chat.events import Event
from chat.folding import Echoes
from chat.models import Member, Receipt
from chat.sign_ins import SignIn

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
    """What history and badges need of the members of a chat, beyond their rows."""

    async def clear(self, chat: str, user: str, seq: int) -> None:
        """Note that a present member does not want to see what is stored up to `seq`; it only rises."""
        ...

    async def cleared(self, user: str, chats: Sequence[str]) -> dict[str, int]:
        """Up to where a user has cleared each of these chats for themselves; only those of which they have cleared something."""
        ...

    async def crowds(self, chat: str, first: int, last: int) -> list[Crowd]:
        """Where the present people of a large chat are, as far as the events from `first` to `last` are concerned; devices do not count."""
        ...

    async def unread(self, users: Sequence[str], *, heads: Mapping[str, int]) -> dict[str, int]:
        """How many messages each user has not seen in all the chats that they are in, as far as the cached heads (`touch`) know.

        Args:
            users: of whom.
            heads: `n` of chats of which the caller may know more.
        """
        ...


MAX_MOVES = 2_000
"""Receipts that an `Opening` holds at most."""


class Opening(msgspec.Struct):
    """What a page of a chat needs of the store.

    Attributes:
        members: present members by id, at most as many as were asked for.
        newest: the newest event; None in an empty chat.
        receipts: those that the page needs; None when there are more than `MAX_MOVES`.
        signed_in: whether the sign-in that was asked about holds.
        events: of the page, in order of `seq`; none where they are at hand.
    """

    members: list[Member]
    newest: Event | None
    receipts: list[Receipt] | None
    signed_in: bool = False
    events: list[Event] = []


class OpeningStore(Protocol):
    """Everything for a page in one question: the way to the database costs more than the answer."""

    async def opening(self, chat: str, *, members: int, first: int, sign_in: SignIn | None = None) -> Opening:
        """The members, the newest event, the receipts from `first` on, and whether `sign_in` holds, as `SignInStore` tells it."""
        ...

    async def below(
        self, chat: str, *, members: int, before: int, limit: int, sign_in: SignIn | None = None
    ) -> Opening:
        """The same for a page of at most `limit` events before a `seq`, with these events, as `MessageStore.before` tells them; the receipts are
        what `ReceiptStore.reached` tells of the `limit` slots before it.
        """
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
