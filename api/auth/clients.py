"""Programs that sign in with a secret (RFC 6749 §4.4), and what they may ask about tokens (RFC 7662)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import unquote_plus

import structlog

from adapters.authenticator import PolicyAuthenticator
from adapters.tokens import TokenIssuer, TokenVerifier, credential_id
from api.auth.schemas import Introspection, Tokens
from api.events import SecurityEvents
from api.limits import Limits
from chat.errors import BadInput, Unauthenticated
from chat.ids import is_device, is_principal, is_service
from chat.permissions import Scope
from chat.ports import DeviceStore, ServiceAccountStore

_NOBODY = hashlib.sha256(b"the secret of nobody").hexdigest()

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class ClientService:
    """Tokens for service accounts and devices."""

    accounts: ServiceAccountStore
    devices: DeviceStore
    issuer: TokenIssuer
    verifier: TokenVerifier
    authenticator: PolicyAuthenticator
    limits: Limits
    events: SecurityEvents

    async def sign_in(self, client: tuple[str, str] | None, scope: str | None, *, address: str) -> Tokens:
        """An access token for a client's id and secret. There is no refresh token: the secret does as well.

        Raises:
            Unauthenticated: `invalid_client`: unknown, disabled, or another secret.
            BadInput: `invalid_scope`: a scope that it does not have.
            RateLimited: too many from this address.
        """
        await self.limits.from_address("client", address)
        id_, secret = client or ("", "")
        stored, scopes = await self._known(id_)
        offered = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
        if not hmac.compare_digest(stored or _NOBODY, offered) or stored is None:
            _log.info("client.refused", address=address)
            self.events.refused("auth.client_refused", address=address, cause="secret", target=id_ if stored else "")
            _refuse()
        wanted = scopes if scope is None else scope.split()
        if not wanted or not set(wanted) <= set(scopes):
            raise BadInput("the client does not have this scope", code="invalid_scope")
        granted = " ".join(sorted(wanted))
        if is_service(id_):  # devices come too often: every quarter of an hour each
            self.events.happened("auth.client_signed_in", by=id_, address=address, scope=granted)
        access = self.issuer.issue(id_, sid=credential_id(stored), scope=granted)
        return Tokens(
            access_token=access.value,
            token_type="bearer",  # noqa: S106 - RFC 6750, no secret
            expires_in=access.expires_in,
            scope=granted,
        )

    async def introspect(self, token: str) -> Introspection:
        """Whether a token is valid now, and what it says."""
        try:
            claims = self.verifier.verify(token)
            await self.authenticator.bearer(token)
        except Unauthenticated:
            return Introspection(active=False)
        return Introspection(
            active=True,
            sub=claims.sub,
            scope=claims.scope,
            sid=claims.sid,
            iss=claims.iss,
            aud=claims.aud,
            exp=claims.exp,
            iat=claims.iat,
            token_type="bearer",  # noqa: S106 - RFC 6750, no secret
        )

    async def _known(self, id_: str) -> tuple[str | None, list[str]]:
        """The hash of a client's secret and its scopes; no hash when there is no such client."""
        if not is_principal(id_):
            return None, []
        if is_service(id_):
            account = await self.accounts.get(id_)
            return (account.secret_hash, account.scopes) if account is not None else (None, [])
        device = await self.devices.get(id_) if is_device(id_) else None
        return (None, []) if device is None or device.disabled else (device.secret_hash, [Scope.DEVICE.value])


def basic(header: str | None) -> tuple[str, str] | None:
    """Id and secret of an `Authorization: Basic` header, form-encoded within it (RFC 6749 §2.3.1); None when it is none.

    Raises:
        Unauthenticated: `invalid_client`: it is broken.
    """
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        id_, colon, secret = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        _refuse()
    if not colon:
        _refuse()
    return unquote_plus(id_), unquote_plus(secret)


def _refuse() -> NoReturn:
    raise Unauthenticated("the client id or the secret is wrong", code="invalid_client") from None
