"""Registration, sign-in and refresh.

A sign-in is a grant: a family of refresh tokens of which only the newest is valid (RFC 9700 §4.14.2). A spent one that is shown
again means that two hold the family, and nobody can tell which of them is the thief: the family ends for both.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn

import structlog

from adapters.secret_files import new_secret
from adapters.tokens import TokenIssuer
from api.auth.passwords import MAX_LENGTH, Passwords
from api.auth.schemas import Account, Registration, Tokens
from api.clock import now
from api.limits import Limits
from chat.envelopes import Invalidation
from chat.errors import Conflict, Unauthenticated, Unavailable
from chat.ids import check_handle
from chat.models import Grant, User
from chat.ports import GrantStore, Invalidations, UserStore

REFRESH_TTL = timedelta(days=30)
"""A phone that has not been used for so long signs in anew; each refresh starts the time again."""

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class AuthService:
    """The decisions of `/v1/auth`."""

    users: UserStore
    grants: GrantStore
    issuer: TokenIssuer
    passwords: Passwords
    limits: Limits
    invalidations: Invalidations

    async def register(self, wish: Registration, *, address: str) -> Account:
        """Make a user.

        Raises:
            InvalidId: the handle can't be chosen.
            Conflict: `handle_taken`.
            RateLimited: too many from this address.
        """
        check_handle(wish.handle)
        await self.limits.from_address("register", address)
        if await self.users.get(wish.handle) is not None:
            _taken()  # before the work of a hash; `add` decides
        user = User(
            id=wish.handle,
            display_name=wish.display_name,
            password_hash=await self.passwords.hash(wish.password),
            created_at=now(),
        )
        if not await self.users.add(user):
            _taken()
        _log.info("user.registered", user=user.id)
        return account(user)

    async def sign_in(self, username: str, password: str, *, address: str) -> Tokens:
        """Tokens for a username and password.

        An unknown or disabled user takes as long as a wrong password and gets the same answer.

        Raises:
            Unauthenticated: `invalid_grant`.
            RateLimited: too many tries for this handle or from this address.
        """
        await self.limits.sign_in(username, address)
        user = await self.users.get(username) if _plausible(username) else None
        right = await self.passwords.matches(user.password_hash if user else None, password[: MAX_LENGTH + 1])
        if user is None or user.disabled or not right:
            _log.info("sign_in.refused", address=address)
            raise Unauthenticated("the handle or the password is wrong", code="invalid_grant")
        refresh, moment = new_secret(), now()
        grant = Grant(
            sid=secrets.token_hex(16),
            user=user.id,
            current=_digest(refresh),
            created_at=moment,
            expires_at=moment + REFRESH_TTL,
        )
        await self.grants.add(grant)
        return self._tokens(user, grant.sid, refresh)

    async def refresh(self, token: str, *, address: str) -> Tokens:
        """New tokens for a refresh token, which is spent by it.

        Raises:
            Unauthenticated: `invalid_grant`: unknown, spent (its sign-in has ended now), expired, or the user is disabled.
            RateLimited: too many from this address.
        """
        await self.limits.from_address("refresh", address)
        spent = _digest(token)
        grant = await self.grants.by_token(spent)
        if grant is None or grant.revoked_at is not None or grant.expires_at <= now():
            _ended()
        user = await self.users.get(grant.user)
        if user is None or user.disabled:
            _ended()
        fresh = new_secret()
        rotated = grant.current == spent and await self.grants.rotate(
            grant.sid, spent=spent, fresh=_digest(fresh), expires_at=now() + REFRESH_TTL
        )
        if not rotated:
            await self._end_family(grant)
            _ended()
        return self._tokens(user, grant.sid, fresh)

    async def _end_family(self, grant: Grant) -> None:
        """A spent token was shown again: end the sign-in everywhere, at once."""
        await self.grants.revoke(grant.sid, now())
        _log.warning("refresh.reused", user=grant.user, sid=grant.sid)
        try:
            await self.invalidations.publish(Invalidation(kind="grant", sid=grant.sid, user=grant.user))
        except Unavailable as error:  # the brokers' sweep finds it within a minute
            _log.warning("invalidation.lost", kind="grant", reason=error.reason)

    def _tokens(self, user: User, sid: str, refresh: str) -> Tokens:
        access = self.issuer.issue(user.id, sid=sid, admin=user.admin)
        return Tokens(
            access_token=access.value,
            token_type="bearer",  # noqa: S106 - RFC 6750, no secret
            expires_in=access.expires_in,
            refresh_token=refresh,
            scope="user admin" if user.admin else "user",
        )


def account(user: User) -> Account:
    """The user without what is secret."""
    return Account(
        id=user.id,
        display_name=user.display_name,
        admin=user.admin,
        created_at=user.created_at,
        hides_seen=user.hides_seen,
        about=user.about,
        avatar=user.avatar,
        profile_for=user.profile_for.value,
        reachable_by=user.reachable_by.value,
    )


def _plausible(username: str) -> bool:
    """Whether it is worth asking the store: short, and no text that a store could choke on."""
    return len(username) <= 64 and username.isascii() and username.isprintable()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _taken() -> NoReturn:
    raise Conflict("this handle is taken", code="handle_taken")


def _ended() -> NoReturn:
    raise Unauthenticated("the refresh token is not valid; sign in again", code="invalid_grant")
