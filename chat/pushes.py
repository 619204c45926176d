"""How a push can end, and what is remembered while one is under way.

A push is one message for one installation of one user. It is sent, or it ends as a dead token, suppressed by a `Rule`, or parked in dead
letters. The mark on the stored event says that some of its pushes have not ended; everything else here may be lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from chat.events import Event


class PushError(Exception):
    """Root of what a `PushSender` raises."""


class PushTokenDead(PushError):
    """The installation is gone: delete the token, never try it again."""


class PushRejected(PushError):
    """The provider will never take this request: park it with the reason."""


class PushRetry(PushError):
    """Later may work.

    Args:
        reason: for the log.
        after: seconds that the provider asked to wait; None when it named none.
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Rule(StrEnum):
    """Why somebody is not pushed a message, in the order in which it is asked."""

    NOT_A_MESSAGE = "not_a_message"
    """Edits, reactions and system events change what is there; nobody is woken for them."""
    DELETED = "deleted"
    EXPIRED = "expired"
    """Its sender wanted it gone by now."""
    OFF = "off"
    """Pushes are switched off: no provider is configured."""
    SUSPENDED = "suspended"
    """An administrator keeps them out."""
    NO_TOKEN = "no_token"  # noqa: S105 - a rule
    """They have no installation that pushes can reach."""
    DELIVERED = "delivered"
    """One of their devices has it, or they have seen it."""
    BLOCKED = "blocked"
    """They have blocked who wrote it."""
    MUTED = "muted"
    QUIET = "quiet"
    """It is the part of their day in which they are not woken."""
    SUPERSEDED = "superseded"
    """They are pushed a newer message of the chat, which stands in the place of this one on their screen."""


class Marked(NamedTuple):
    """An event with its push mark, and since when it has that: when it was stored, or when an administrator sent it off again."""

    event: Event
    since: datetime


class Pushed(NamedTuple):
    """The newest event of a chat that a token (or a user, with any of their tokens) was pushed.

    Attributes:
        seq: of that event.
        at: when.
    """

    seq: int
    at: datetime


def of_token(token: str) -> str:
    """Under which name progress of a token is kept: a push token is a secret of its installation and does not belong into a cache."""
    return "t:" + hashlib.sha256(token.encode()).hexdigest()[:32]


def of_user(user: str) -> str:
    """Under which name it is kept what a user has on their screens."""
    return "u:" + user


class PushMarkStore(Protocol):
    """The marks on stored events. They are put on with the event (`MessageStore.insert`).

    Every method may raise `chat.errors.Unavailable`.
    """

    async def push_pending(self, *, older_than: datetime, limit: int, skip: int = 0) -> list[str]:
        """Ids of events whose push mark is still there and older than a time."""
        ...

    async def push_claim(self, message_id: str) -> Event | None:
        """The event, if its push mark is still there."""
        ...

    async def push_claims(self, message_ids: Sequence[str]) -> list[Marked]:
        """Those of the events whose push mark is still there, in any order."""
        ...

    async def push_newer(self, seqs: Mapping[str, int], *, limit: int) -> list[Marked]:
        """Marked events with a greater `seq` than is given for their chat, at most `limit` in all, in any order."""
        ...

    async def push_done(self, *message_ids: str) -> None:
        """Take the push marks away."""
        ...

    async def push_again(self, message_id: str, at: datetime) -> bool:
        """Give a stored message a push mark of `at`. False if there is no such message."""
        ...


class Leases(NamedTuple):
    """What `PushProgress.acquire` found.

    Attributes:
        ours: lease by chat.
        busy: of the others, the seconds for which nobody may start on them; 0.0: somebody works on it.
    """

    ours: dict[str, str]
    busy: dict[str, float]


class PushProgress(Protocol):
    """What workers remember of chats whose pushes are under way. It may be lost: then somebody is pushed twice.

    Every method may raise `chat.errors.Unavailable`.
    """

    async def acquire(self, chats: Collection[str], *, seconds: float) -> Leases:
        """Start on chats: a lease for `seconds` of each on which nobody works and no hold is in force."""
        ...

    async def release(self, leases: Mapping[str, str], *, hold: float = 0.0) -> None:
        """Give leases back, and let nobody start on these chats for `hold` seconds.

        A lease that ran out meanwhile, and belongs to somebody else now, is left alone.
        """
        ...

    async def pushed(self, wanted: Mapping[str, Collection[str]]) -> dict[tuple[str, str], Pushed]:
        """What is known of (chat, name), names being those of `of_token` and `of_user`."""
        ...

    async def note(self, entries: Mapping[tuple[str, str], Pushed]) -> None:
        """Remember that these need an event no more."""
        ...

    async def forget(self, chat: str, names: Collection[str]) -> None:
        """They have nothing of the chat on a screen any more."""
        ...

    async def claim(self, message_ids: Sequence[str], *, seconds: float) -> list[str]:
        """For the sweeper: those of the events that nobody has claimed or postponed; they count as claimed for `seconds`."""
        ...

    async def postpone(self, message_ids: Collection[str], *, seconds: float) -> None:
        """The sweeper leaves these alone for `seconds`, whatever it was told before."""
        ...
