"""The port of regular upkeep: erasing what is no longer kept, folding what is old, forgetting what is over.

Every method does a bounded part of it and tells how much that was; nothing that it does can be done wrong by doing it twice.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class Keeping(msgspec.Struct, frozen=True):
    """How long a chat keeps its messages.

    Attributes:
        days: the chat's own wish; None: as everywhere.
        erased_seq: everything up to it is erased.
    """

    chat: str
    days: int | None = None
    erased_seq: int = 0


class UpkeepStore(Protocol):
    """Every method may raise `chat.errors.Unavailable`: part of it may have been done."""

    async def set_retention(self, chat: str, days: int | None) -> bool:
        """Note how many days a chat keeps what is said in it; None: as everywhere. False if there is no such chat."""
        ...

    async def keepings(self, *, after: str, limit: int, own: bool) -> list[Keeping]:
        """Chats by id, from behind `after`; with `own` only those with a wish of their own."""
        ...

    async def erase_before(
        self, chat: str, *, after: int, before: datetime, now: datetime, limit: int
    ) -> tuple[int, int]:
        """Erase for good what the oldest events of a chat say, from behind slot `after`, of those that were stored before a time.

        Every slot stays (P3): a message becomes a deleted one, what is about a message a `void`; system events stay as they are.

        Returns:
            the last slot that is erased now, and how many events that were; (`after`, 0) when there are none.
        """
        ...

    async def note_erased(self, chat: str, seq: int) -> None:
        """Everything up to `seq` is erased."""
        ...

    async def drop_receipts(self, chat: str, seq: int, limit: int) -> int:
        """Forget receipts up to a slot; how many that were."""
        ...

    async def oldest_receipt(self) -> datetime | None:
        """When the oldest receipt is from."""
        ...

    async def fold_receipts(self, start: datetime, end: datetime, limit: int) -> int:
        """Of each watermark's receipts in a span of time keep the furthest alone, for at most `limit` watermarks; how many went.

        What a message was delivered or seen at is then at most `end - start` too late, never too early.
        """
        ...

    async def forget_sign_ins(self, before: datetime, limit: int) -> int:
        """Forget sign-ins that expired or were revoked before a time."""
        ...

    async def forget_push_tokens(self, before: datetime, limit: int) -> int:
        """Forget push tokens that nobody has brought since."""
        ...

    async def forget_keys(self, now: datetime, limit: int) -> int:
        """Forget idempotency keys that are over."""
        ...
