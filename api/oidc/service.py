"""Logins at OpenID providers.

The app that begins keeps `login`: state, nonce and PKCE verifier, sealed, so that nothing is stored here and only the app that began can
finish. A person is known by issuer and `sub`, which never change; never by name or address: nobody gets into an account that has
the same ones. Somebody new becomes a user, in one write.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from adapters.oidc import Begun, OidcProvider
from adapters.sealing import Seal
from api.auth.schemas import Tokens
from api.clock import now
from api.limits import Limits
from api.oidc.schemas import Finish, Providers, Start, Started
from api.sessions.service import Origin, SessionService
from chat.errors import BadInput, Conflict, InvalidId, NotFound, Unauthenticated
from chat.ids import check_handle
from chat.models import User
from chat.ports import UserStore

LOGIN_SECONDS = 600
"""How long a person may take at the provider."""

_TRIES = 5
_log = structlog.get_logger("api")


class _Login(msgspec.Struct):
    """What is sealed."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    until: float


@dataclass(frozen=True, slots=True)
class OidcService:
    """The decisions of `/v1/auth/oidc`."""

    providers: Mapping[str, OidcProvider]
    users: UserStore
    sessions: SessionService
    limits: Limits
    seal: Seal

    def names(self) -> Providers:
        """Those that may be used."""
        return Providers(items=sorted(self.providers))

    async def start(self, name: str, wish: Start, *, address: str) -> Started:
        """Begin a login.

        Raises:
            NotFound: `unknown_provider`.
            BadInput: `unknown_redirect`.
            RateLimited, Unavailable: too many from this address; the provider does not answer.
        """
        await self.limits.from_address("oidc", address)
        provider = self._provider(name)
        if wish.redirect_uri not in provider.config.redirect_uris:
            raise BadInput("this redirect_uri is not among those of the provider", code="unknown_redirect")
        begun = Begun(
            secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), wish.redirect_uri
        )
        login = _Login(begun.state, begun.nonce, begun.verifier, begun.redirect_uri, now().timestamp() + LOGIN_SECONDS)
        sealed = self.seal.seal(msgspec.json.encode(login), purpose=_purpose(name))
        return Started(authorization_url=await provider.authorization_url(begun), login=sealed)

    async def finish(self, name: str, wish: Finish, *, origin: Origin) -> Tokens:
        """Tokens for somebody whom the provider has sent back.

        Raises:
            NotFound: `unknown_provider`.
            Unauthenticated: `invalid_login`: not begun here, too late, or another state; `oidc_refused`.
            Conflict, InvalidId: `handle_taken`, `invalid_id`: of the handle that a new user has chosen; begin anew.
            RateLimited, Unavailable: too many from this address; the provider does not answer.
        """
        await self.limits.from_address("oidc", origin.address)
        provider = self._provider(name)
        if wish.handle is not None:
            check_handle(wish.handle)
        opened = self.seal.open(wish.login, purpose=_purpose(name))
        login = None if opened is None else msgspec.json.decode(opened, type=_Login)
        if login is None or login.until < now().timestamp() or not _same(login.state, wish.state):
            self._refused(origin, "login")
            raise Unauthenticated("this login was not begun here, or too long ago", code="invalid_login")
        claims = await self._exchanged(provider, wish, login, origin)
        identity = hashlib.sha256(f"{provider.config.issuer}\n{claims['sub']}".encode("utf-8", "replace")).hexdigest()
        user = await self.users.by_identity(identity) or await self._new(identity, claims, wish.handle, origin)
        if user.disabled:
            self._refused(origin, "disabled", user.id)
            raise Unauthenticated("this account is disabled", code="oidc_refused")
        return await self.sessions.open(user, via=f"oidc:{name}", origin=origin)

    async def _exchanged(self, provider: OidcProvider, wish: Finish, login: _Login, origin: Origin) -> dict[str, Any]:
        try:
            return await provider.exchange(
                wish.code, Begun(login.state, login.nonce, login.verifier, login.redirect_uri)
            )
        except Unauthenticated:
            self._refused(origin, "provider")
            raise

    def _refused(self, origin: Origin, cause: str, target: str = "") -> None:
        self.sessions.events.refused("auth.refused", address=origin.address, cause=cause, target=target)

    async def _new(self, identity: str, claims: Mapping[str, Any], handle: str | None, origin: Origin) -> User:
        """A user for an identity that is new here. Of two who come with one at once, both get the same user."""
        shown = claims.get("name")
        for number in range(_TRIES):
            chosen = handle or _handle(claims.get("preferred_username"), number)
            display = shown if isinstance(shown, str) and 0 < len(shown) <= 128 else chosen
            user = User(id=chosen, display_name=display, password_hash="", created_at=now(), identity=identity)
            if await self.users.add(user):
                _log.info("user.registered", user=user.id, via="oidc")
                self.sessions.events.happened("user.registered", by=user.id, address=origin.address, via="oidc")
                return user
            if (there := await self.users.by_identity(identity)) is not None:
                return there
            if handle is not None:
                break
        raise Conflict("this handle is taken", code="handle_taken")

    def _provider(self, name: str) -> OidcProvider:
        if name not in self.providers:
            raise NotFound("there is no such provider", code="unknown_provider")
        return self.providers[name]


def _handle(wished: object, number: int) -> str:
    """A handle like the name that somebody has elsewhere; with something random behind it once that is taken."""
    plain = re.sub(r"[^a-z0-9._-]", "", str(wished).lower())[:24].lstrip("._-") if isinstance(wished, str) else ""
    if number or len(plain) < 2:
        plain = f"{plain or 'user'}-{secrets.token_hex(3)}"
    try:
        return check_handle(plain)
    except InvalidId:
        return f"user-{secrets.token_hex(6)}"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogatepass"))


def _purpose(name: str) -> str:
    return f"oidc:{name}"
