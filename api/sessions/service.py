"""Sign-ins.

A sign-in is a grant: a family of refresh tokens of which only the newest is valid (RFC 9700 §4.14.2). A spent one that is shown
again means that two hold the family, and nobody can tell which of them is the thief: the family ends for both.

Whatever ends a sign-in is written first and told afterwards, so that brokers close its connections at once; a broker that did not
hear of it finds out with its sweep.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

import structlog

from adapters.secret_files import new_secret
from adapters.tokens import TokenIssuer
from api.auth.schemas import Tokens
from api.clock import now
from api.events import SecurityEvents
from api.sessions.schemas import Session, SessionList
from chat.envelopes import Invalidation
from chat.errors import NotFound, Unauthenticated, Unavailable
from chat.models import Grant, Principal, User
from chat.permissions import token_scope
from chat.ports import GrantStore, Invalidations, UserStore

REFRESH_TTL = timedelta(days=30)
"""A phone that has not been used for so long signs in anew; each refresh starts the time again."""

CURRENT = "current"
"""Stands for the id of the sign-in that asks."""

_SURPLUS = 100
"""Sign-ins beyond the bound that one new sign-in ends: more are there only after the bound was lowered."""

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a sign-in comes from, for limits and for people who look at their sign-ins. Nothing is decided by `client`."""

    address: str
    client: str = ""


@dataclass(frozen=True, slots=True)
class SessionService:
    """The life of sign-ins.

    Attributes:
        max_sessions: of one user; the one that was used longest ago makes room.
    """

    users: UserStore
    grants: GrantStore
    issuer: TokenIssuer
    invalidations: Invalidations
    events: SecurityEvents
    max_sessions: int

    async def open(self, user: User, *, via: str, origin: Origin) -> Tokens:
        """A new sign-in of somebody who has proved who they are."""
        refresh, moment = new_secret(), now()
        grant = Grant(
            sid=secrets.token_hex(16),
            user=user.id,
            current=digest(refresh),
            created_at=moment,
            expires_at=moment + REFRESH_TTL,
            via=via,
            client=origin.client,
            address=origin.address,
            used_at=moment,
        )
        await self.grants.add(grant)
        for surplus in await self.grants.of_user(user.id, skip=self.max_sessions, limit=_SURPLUS):
            await self._end(surplus)
        _log.info("session.opened", user=user.id, sid=grant.sid, via=via)
        self.events.happened("auth.signed_in", by=user.id, address=origin.address, sid=grant.sid, via=via)
        return self._tokens(user, grant.sid, refresh)

    async def refresh(self, token: str, *, origin: Origin) -> Tokens:
        """New tokens for a refresh token, which is spent by it.

        Raises:
            Unauthenticated: `invalid_grant`: unknown, spent (its sign-in has ended now), expired, or the user is disabled.
        """
        spent = digest(token)
        grant = await self.grants.by_token(spent)
        if grant is None or not _lives(grant):
            _refuse()
        user = await self.users.get(grant.user)
        if user is None or user.disabled:
            _refuse()
        fresh, moment = new_secret(), now()
        rotated = grant.current == spent and await self.grants.rotate(
            grant.sid,
            spent=spent,
            fresh=digest(fresh),
            expires_at=moment + REFRESH_TTL,
            at=moment,
            address=origin.address,
        )
        if not rotated:
            _log.warning("refresh.reused", user=grant.user, sid=grant.sid)
            self.events.happened("auth.refresh_reused", by="", target=grant.user, address=origin.address, sid=grant.sid)
            await self._end(grant)
            _refuse()
        return self._tokens(user, grant.sid, fresh)

    async def end_by_token(self, refresh: str, *, address: str) -> bool:
        """End the sign-in that has, or had, this refresh token; whether there is one."""
        grant = await self.grants.by_token(digest(refresh))
        if grant is not None:
            await self._sign_out(grant, address)
        return grant is not None

    async def end_by_sid(self, sid: str, *, address: str) -> None:
        """End a sign-in by the claim of an access token; nothing happens when there is none."""
        grant = await self.grants.get(sid)
        if grant is not None:
            await self._sign_out(grant, address)

    async def owned(self, caller: Principal) -> SessionList:
        """The caller's sign-ins that live."""
        found = await self.grants.of_user(caller.id, limit=self.max_sessions)
        return SessionList(items=[_view(grant, current=grant.sid == caller.sid) for grant in found])

    async def end_own(self, session: str, *, caller: Principal, address: str) -> None:
        """End one of the caller's sign-ins.

        Raises:
            NotFound: `unknown_session`: not there, ended already, or somebody else's.
        """
        grant = await self.grants.get((caller.sid or "") if session == CURRENT else session)
        if grant is None or grant.user != caller.id or not _lives(grant):
            raise NotFound("there is no such sign-in of yours", code="unknown_session")
        await self._sign_out(grant, address)

    async def end_all(self, user: str, *, keep: str | None = None) -> int:
        """End every sign-in of a user but `keep`; how many that were."""
        ended = await self.grants.revoke_all(user, now(), keep=keep)
        await self._tell(user, ended)
        if ended:
            _log.info("sessions.ended", user=user, count=len(ended))
        return len(ended)

    async def _sign_out(self, grant: Grant, address: str) -> None:
        if _lives(grant):
            self.events.happened("auth.signed_out", by=grant.user, address=address, sid=grant.sid)
        await self._end(grant)

    async def _end(self, grant: Grant) -> None:
        await self.grants.revoke(grant.sid, now())
        _log.info("session.ended", user=grant.user, sid=grant.sid)
        await self._tell(grant.user, [grant.sid])

    async def _tell(self, user: str, sids: Iterable[str]) -> None:
        try:
            for sid in sids:
                await self.invalidations.publish(Invalidation(kind="grant", sid=sid, user=user))
        except Unavailable as error:  # the brokers' sweep finds it within a minute
            _log.warning("invalidation.lost", kind="grant", reason=error.reason)

    def _tokens(self, user: User, sid: str, refresh: str) -> Tokens:
        access = self.issuer.issue(user.id, sid=sid, admin=user.admin)
        return Tokens(
            access_token=access.value,
            token_type="bearer",  # noqa: S106 - RFC 6750, no secret
            expires_in=access.expires_in,
            refresh_token=refresh,
            scope=token_scope(admin=user.admin),
        )


def digest(token: str) -> str:
    """What is stored of a refresh token: SHA-256, hex. It is 256 random bits, so there is nothing to stretch."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _lives(grant: Grant) -> bool:
    return grant.revoked_at is None and grant.expires_at > now()


def _view(grant: Grant, *, current: bool) -> Session:
    used: datetime = grant.used_at or grant.created_at
    return Session(
        id=grant.sid,
        client=grant.client,
        address=grant.address,
        via=grant.via,
        created_at=grant.created_at,
        used_at=used,
        expires_at=grant.expires_at,
        current=current,
    )


def _refuse() -> NoReturn:
    raise Unauthenticated("the refresh token is not valid; sign in again", code="invalid_grant")
