"""Registration, sign-in, refresh and revocation: who may; `api.sessions` has the life of sign-ins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import structlog

from adapters.tokens import TokenVerifier
from api import creation
from api.auth.password_rules import MAX_LENGTH, check_password
from api.auth.passwords import Passwords
from api.auth.schemas import Account, PasswordChange, Registration, Tokens
from api.clock import now
from api.events import SecurityEvents
from api.limits import Limits
from api.second_factor.service import SecondFactors
from api.sessions.service import Origin, SessionService
from api.trail import Trail
from chat.errors import Conflict, Forbidden, RateLimited, Unauthenticated
from chat.ids import check_handle
from chat.models import Principal, User
from chat.ports import UserStore

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class AuthService:
    """The decisions of `/v1/auth`."""

    users: UserStore
    sessions: SessionService
    factors: SecondFactors
    verifier: TokenVerifier
    passwords: Passwords
    limits: Limits
    events: SecurityEvents

    async def register(self, wish: Registration, *, address: str) -> Account:
        """Make a user.

        Raises:
            InvalidId: the handle can't be chosen.
            BadInput: `weak_password`.
            Conflict: `handle_taken`.
            RateLimited: too many from this address.
        """
        check_handle(wish.handle)
        check_password(wish.password, wish.handle, wish.display_name)
        await self.limits.from_address("register", address)
        if await self.users.get(wish.handle) is not None and not creation.resumed():
            _taken()  # before the work of a hash; `add` decides
        user = User(
            id=wish.handle,
            display_name=wish.display_name,
            password_hash=await self.passwords.hash(wish.password, salt=creation.chosen("salt", 16)),
            created_at=now(),
        )
        made = user if await self.users.add(user) else await self._made_before(user)
        if made is None:
            _taken()
        _log.info("user.registered", user=made.id)
        self.events.happened("user.registered", by=made.id, address=address)
        return account(made)

    async def _made_before(self, user: User) -> User | None:
        """What an attempt that was killed has made: only that one had this salt."""
        found = await self.users.get(user.id) if creation.resumed() else None
        return found if found is not None and found.password_hash == user.password_hash else None

    async def sign_in(self, username: str, password: str, *, otp: str | None = None, origin: Origin) -> Tokens:
        """Tokens for a username and password, and a code for whom has a second factor.

        An unknown or disabled user takes as long as a wrong password and gets the same answer; so does a wrong code.

        Raises:
            Unauthenticated: `invalid_grant`.
            Forbidden: `mfa_required`: the password is right, and a code is needed as well.
            RateLimited: too many tries for this handle or from this address.
        """
        await self._counted(username, origin.address)
        user = await self.users.get(username) if _plausible(username) else None
        right = await self.passwords.matches(user.password_hash if user else None, password[: MAX_LENGTH + 1])
        if user is None or user.disabled or not right or not await self.factors.passes(user, otp):
            _log.info("sign_in.refused", address=origin.address)
            cause = "code" if right else "password"
            self._refused(origin.address, "disabled" if user is not None and user.disabled else cause, username)
            raise Unauthenticated("the handle, the password or the code is wrong", code="invalid_grant")
        await self.limits.signed_in(username)
        if self.passwords.outdated(user.password_hash):
            fresh = await self.passwords.hash(password)
            await self.users.set_password(user.id, was=user.password_hash, now=fresh)
        return await self.sessions.open(user, via="password", origin=origin)

    async def change_password(self, wish: PasswordChange, *, caller: Principal, trail: Trail) -> None:
        """Another password; every other sign-in ends, because whoever knew the old one may have made it.

        Raises:
            Forbidden: `wrong_password`, also when somebody else changed it at this moment.
            BadInput: `weak_password`.
            RateLimited: too many tries: this guesses a password as well as signing in does.
        """
        await self._counted(caller.id, trail.address)
        user = await self.users.get(caller.id)
        if user is None or not await self.passwords.matches(user.password_hash, wish.current_password):
            self._refused(trail.address, "password", caller.id)
            _wrong_password()
        await self.limits.signed_in(caller.id)
        check_password(wish.new_password, user.id, user.display_name)
        fresh = await self.passwords.hash(wish.new_password)
        await trail.record("password.changed", target=user.id)
        if not await self.users.set_password(user.id, was=user.password_hash, now=fresh):
            _wrong_password()
        _log.info("password.changed", user=user.id)
        await self.sessions.end_all(user.id, keep=caller.sid)

    async def _counted(self, username: str, address: str) -> None:
        """One try of those that a handle and an address have."""
        try:
            await self.limits.sign_in(username, address)
        except RateLimited:
            self._refused(address, "locked", username)
            raise

    def _refused(self, address: str, cause: str, username: str) -> None:
        named = username if _plausible(username) else ""
        self.events.refused("auth.refused", address=address, cause=cause, named=named)

    async def refresh(self, token: str, *, origin: Origin) -> Tokens:
        """New tokens for a refresh token, which is spent by it.

        Raises:
            Unauthenticated: `invalid_grant`: unknown, spent (its sign-in has ended now), expired, or the user is disabled.
            RateLimited: too many from this address.
        """
        await self.limits.from_address("refresh", origin.address)
        return await self.sessions.refresh(token, origin=origin)

    async def revoke(self, token: str, *, address: str) -> None:
        """End the sign-in of a refresh or access token. A token that is none is not told apart (RFC 7009 §2.2).

        Raises:
            RateLimited: too many from this address.
        """
        await self.limits.from_address("revoke", address)
        if await self.sessions.end_by_token(token, address=address):
            return
        try:
            claims = self.verifier.verify(token)
        except Unauthenticated:
            return
        await self.sessions.end_by_sid(claims.sid, address=address)


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


def _wrong_password() -> NoReturn:
    raise Forbidden("the current password is wrong", code="wrong_password")


def _taken() -> NoReturn:
    raise Conflict("this handle is taken", code="handle_taken")
