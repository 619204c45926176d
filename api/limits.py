"""How often somebody may try to sign in or register: by handle, against guessing one password; by address, against guessing many."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from chat.errors import InvalidId, RateLimited, Unavailable
from chat.ids import check_handle
from chat.ports import RateLimiter

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Rule:
    """A token bucket: `burst` tries at once, then `rate` per second."""

    rate: float
    burst: float


class Limits:
    """The limits of the unauthenticated routes.

    Args:
        shared: buckets that all api processes share.
        local: buckets of this process, for as long as the shared ones do not answer: guessing must not become free
            because Valkey is down, and nobody is locked out by it.
        handle: tries for one handle, whether they succeed or not.
        address: tries from one address.
        lock: tries for one handle that fail in a row. A handle that nobody has is locked just the same, and who is signed in
            already stays so.
    """

    def __init__(self, shared: RateLimiter, local: RateLimiter, *, handle: Rule, address: Rule, lock: Rule) -> None:
        self._shared = shared
        self._local = local
        self._handle = handle
        self._address = address
        self._lock = lock

    async def sign_in(self, username: str, address: str) -> None:
        """Count one try to sign in; `signed_in` when it succeeded.

        Raises:
            RateLimited: too many.
        """
        await self._take(f"login:address:{address}", self._address)
        try:
            handle = check_handle(username)
        except InvalidId:
            return  # nobody has such a handle: there is no password to guess, and no key to make of it
        await self._take(f"login:handle:{handle}", self._handle)
        await self._take(f"login:lock:{handle}", self._lock)

    async def signed_in(self, username: str) -> None:
        """The tries until now were the owner's: they count no more towards the lock."""
        key = f"login:lock:{username}"
        await self._local.forget(key)
        try:
            await self._shared.forget(key)
        except Unavailable as error:
            _log.warning("limits.local", reason=error.reason)

    async def from_address(self, what: str, address: str) -> None:
        """Count one registration or refresh.

        Raises:
            RateLimited: too many.
        """
        await self._take(f"{what}:address:{address}", self._address)

    async def _take(self, key: str, rule: Rule) -> None:
        try:
            wait = await self._shared.take(key, rate=rule.rate, burst=rule.burst)
        except Unavailable as error:
            _log.warning("limits.local", reason=error.reason)
            wait = await self._local.take(key, rate=rule.rate, burst=rule.burst)
        if wait > 0:
            raise RateLimited("too many attempts, try again later", retry_after=wait)
