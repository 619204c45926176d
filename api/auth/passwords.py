"""Passwords: argon2id, off the event loop, a few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from api.auth.password_rules import normal
from chat.errors import RateLimited

WAITING = 64
"""Passwords that may wait for a thread; at about 30 ms each they wait for a second with two threads, and more is a flood."""

T = TypeVar("T")


class Passwords:
    """Hashes and checks passwords.

    Args:
        memory_kib: memory of one hash.
        passes: over that memory.
        threads: how many are worked on at once.
    """

    def __init__(self, *, memory_kib: int, passes: int, threads: int) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = threads + WAITING
        self._under_way = 0
        self._nobody = self._hasher.hash("the password of nobody")

    async def hash(self, password: str, *, salt: bytes | None = None) -> str:
        """The hash to store, in the PHC string format.

        Args:
            salt: 16 random bytes; chosen here when omitted.

        Raises:
            RateLimited: too many passwords at once.
        """
        return await self._run(lambda: self._hasher.hash(normal(password), salt=salt))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one behind `stored`; takes as long when nothing is stored (None or empty), and says no.

        Raises:
            RateLimited: too many passwords at once.
        """
        right = await self._run(lambda: self._verify(stored or self._nobody, normal(password)))
        return right and bool(stored)

    def outdated(self, stored: str) -> bool:
        """Whether a stored hash is cheaper or dearer than those that are made now."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._under_way >= self._places:
            raise RateLimited("too many sign-ins at once", code="busy")
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1
