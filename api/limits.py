"""How often somebody may try to sign in or register (by handle, against guessing one password; by address, against guessing many), and how often
they may ask for anything once they are signed in.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
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


STANDING = "rate_standing"
"""Where a request's state has the `Standing` of who sent it."""

MAX_PRINCIPALS = 50_000
"""Who asked longest ago is forgotten first: their bucket is full again, most likely."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is left of somebody's requests, as `draft-ietf-httpapi-ratelimit-headers` tells it.

    Attributes:
        rule: of the bucket.
        tokens: in it now.
    """

    rule: Rule
    tokens: float

    @property
    def policy(self) -> str:
        """`RateLimit-Policy`: so many requests in so many seconds."""
        return f'"requests";q={int(self.rule.burst)};w={math.ceil(self.rule.burst / self.rule.rate)}'

    @property
    def header(self) -> str:
        """`RateLimit`: how many are left, and in how many seconds all are there again."""
        missing = self.rule.burst - self.tokens
        return f'"requests";r={max(0, int(self.tokens))};t={math.ceil(missing / self.rule.rate)}'


class Requests:
    """A bucket of requests per principal, in this process: one that is counted in Valkey would cost every request a question.

    Args:
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, rule: Rule, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rule = rule
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, principal: str) -> float:
        """The seconds until a request may come; counts none. For whoever would work before it is known who asks."""
        at = self._monotonic()
        tokens, before = self._buckets.get(principal, (self._rule.burst, at))
        tokens = min(self._rule.burst, tokens + (at - before) * self._rule.rate)
        return max(0.0, (1 - tokens) / self._rule.rate)

    def take(self, principal: str) -> tuple[Standing, float]:
        """Count one request.

        Returns:
            what is left, and the seconds to wait: 0 when it may go on.
        """
        at = self._monotonic()
        tokens, before = self._buckets.pop(principal, (self._rule.burst, at))
        tokens = min(self._rule.burst, tokens + (at - before) * self._rule.rate)
        wait = max(0.0, (1 - tokens) / self._rule.rate)
        left = tokens if wait else tokens - 1
        self._buckets[principal] = (left, at)
        if len(self._buckets) > MAX_PRINCIPALS:
            self._buckets.popitem(last=False)
        return Standing(self._rule, left), wait
