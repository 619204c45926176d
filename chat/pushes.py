"""How a push can end, other than well, and what is remembered while one is under way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


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


class PushProgress(Protocol):
    """What workers remember of an event whose pushes are under way. It may be lost: then somebody is pushed twice.

    Every method may raise `chat.errors.Unavailable`.
    """

    async def acquire(self, message_id: str, *, seconds: float) -> str | None:
        """Start on an event: a lease for `seconds`, which ends a claim; None while somebody else has one or `hold` is in force."""
        ...

    async def release(self, message_id: str, lease: str) -> None:
        """Give a lease back; a lease that ran out meanwhile, and belongs to somebody else now, is left alone."""
        ...

    async def hold(self, message_id: str, lease: str, *, seconds: float) -> None:
        """Turn a lease into a pause: nobody starts on the event for `seconds` (what the provider asked for)."""
        ...

    async def sent(self, message_id: str, tokens: Sequence[str]) -> set[str]:
        """Those of `tokens` that need the event no more."""
        ...

    async def add_sent(self, message_id: str, token: str) -> None:
        """This token needs the event no more: it was pushed, or never will be."""
        ...

    async def claim(self, message_ids: Sequence[str], *, seconds: float) -> list[str]:
        """For the sweeper: those of the events that nobody works on, holds, or has claimed in the last `seconds`."""
        ...
