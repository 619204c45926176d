"""Port of idempotency keys: what became of a request that creates something, so that sending it again creates nothing new."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec


class Attempt(msgspec.Struct, frozen=True):
    """What a key stands for, as its store knows it.

    Attributes:
        fingerprint: of the request that the key came with first.
        seed: random, made with the first attempt: whatever an attempt chooses at random it takes from this, so that the next one chooses
            the same.
        mine: this attempt may go on; else another one is under way, or it has ended and left its answer.
        resumed: an earlier attempt began and did not end: what it did may be there.
        answer: of the attempt that ended.
    """

    fingerprint: str
    seed: bytes
    mine: bool
    resumed: bool = False
    answer: bytes | None = None


class IdempotencyStore(Protocol):
    """Keys that were used, for as long as they are remembered."""

    async def begin(
        self, key: str, *, fingerprint: str, seed: bytes, now: datetime, lease: datetime, expires_at: datetime
    ) -> Attempt:
        """Take a key, if nobody has it, or who had it has not ended before their lease did.

        Args:
            key: hashed, with whose it is.
            seed: is kept when the key is new.
            lease: until when nobody else may take it.
            expires_at: when it is forgotten.
        """
        ...

    async def finish(self, key: str, answer: bytes) -> None:
        """Keep the answer, and forget the seed."""
        ...

    async def release(self, key: str) -> None:
        """End the lease: it failed half way, and may be tried again."""
        ...

    async def drop(self, key: str) -> None:
        """Forget a key: nothing came of it."""
        ...
