"""An OpenID provider, as a client of it sees it: OpenID Connect Core 1.0, code flow, with PKCE (RFC 7636), state and nonce.

What is believed of an ID token: a signature by a key of the provider's, with one of `ALGORITHMS`; `iss` the provider, `aud` us, `azp` us
if it is there, `exp` to come, `iat` of now, `nonce` ours. Keys and endpoints come from the provider's discovery document, over https
(http only on this machine).
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, ConfigDict, Field, field_validator

from chat.errors import Unauthenticated, Unavailable

ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]
"""Never `none`, and none with a shared secret."""

LEEWAY = 60
"""Seconds that the provider's clock may be off."""

DOCUMENT_SECONDS = 600.0
"""How long endpoints and keys are believed; an unknown key is asked for sooner."""

UNKNOWN_KEY_SECONDS = 10.0
TIMEOUT = 10.0
MAX_ANSWER = 256 * 1024
"""Bytes of an answer; a key set has some 5,000."""


class ProviderConfig(BaseModel):
    """One provider of the file that `PABAL_OIDC_FILE` names."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    issuer: str
    client_id: str
    client_secret: str | None = Field(default=None, repr=False)
    redirect_uris: list[str] = Field(min_length=1)
    scope: str = "openid profile"

    @field_validator("issuer")
    @classmethod
    def _secure(cls, value: str) -> str:
        return _checked(value)


@dataclass(frozen=True, slots=True)
class Begun:
    """What a client keeps from the beginning of a login to its end."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


class OidcProvider:
    """One provider.

    Args:
        config: who it is, and who we are to it.
        http: used for all requests; whoever made it closes it.
        clock: Unix time in seconds.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        config: ProviderConfig,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self._http = http
        self._clock = clock
        self._monotonic = monotonic
        self._endpoints: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def authorization_url(self, begun: Begun) -> str:
        """Where the person goes.

        Raises:
            Unavailable: the provider does not answer.
        """
        endpoint = _checked(str((await self._discovered()).get("authorization_endpoint", "")))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": begun.redirect_uri,
            "scope": self.config.scope,
            "state": begun.state,
            "nonce": begun.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def exchange(self, code: str, begun: Begun) -> dict[str, Any]:
        """The claims of the ID token that a code is exchanged for.

        Raises:
            Unauthenticated: `oidc_refused`: the provider does not take the code, or its token is not what it has to be.
            Unavailable: the provider does not answer.
        """
        endpoint = _checked(str((await self._discovered()).get("token_endpoint", "")))
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": begun.redirect_uri,
            "code_verifier": begun.verifier,
        }
        secret = self.config.client_secret
        auth = None if secret is None else httpx.BasicAuth(self.config.client_id, secret)
        if auth is None:
            form["client_id"] = self.config.client_id
        answer = await self._ask("POST", endpoint, data=form, auth=auth)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _refused("it sent no ID token")
        return await self._verified(token, begun)

    async def _verified(self, token: str, begun: Begun) -> dict[str, Any]:
        claims = await self._signed(token)
        now, us = self._clock(), self.config.client_id
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        expires, issued, subject = claims.get("exp"), claims.get("iat"), claims.get("sub")
        wrong = {
            "issuer": claims.get("iss") != self.config.issuer,
            "audience": us not in audiences
            or claims.get("azp", us) != us
            or (len(audiences) > 1 and "azp" not in claims),
            "nonce": claims.get("nonce") != begun.nonce,
            "end": not isinstance(expires, int) or now >= expires + LEEWAY,
            "time": not isinstance(issued, int) or abs(now - issued) > LEEWAY + DOCUMENT_SECONDS,
            "subject": not isinstance(subject, str) or not 0 < len(subject) <= 255,
        }
        for what, is_wrong in wrong.items():
            if is_wrong:
                raise _refused(f"its token has another {what}")
        return claims

    async def _signed(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of its keys has signed; the keys are asked for anew when none fits."""
        for patience in (DOCUMENT_SECONDS, UNKNOWN_KEY_SECONDS):
            keys = await self._key_set(patience)
            try:
                return dict(jwt.decode(token, keys, algorithms=ALGORITHMS).claims)
            except (JoseError, ValueError, TypeError, RecursionError):
                continue
        raise _refused("its token is not signed by a key of its own")

    async def _key_set(self, patience: float) -> KeySet:
        if self._keys is None or self._monotonic() - self._keys[0] > patience:
            where = _checked(str((await self._discovered()).get("jwks_uri", "")))
            document = await self._ask("GET", where)
            try:
                self._keys = (self._monotonic(), KeySet.import_key_set(document))  # type: ignore[arg-type]  # checked by it
            except (JoseError, ValueError, TypeError, KeyError) as error:
                raise Unavailable(f"the provider's keys can't be read: {type(error).__name__}") from error
        return self._keys[1]

    async def _discovered(self) -> dict[str, Any]:
        if self._endpoints is None or self._monotonic() - self._endpoints[0] > DOCUMENT_SECONDS:
            where = f"{self.config.issuer.rstrip('/')}/.well-known/openid-configuration"
            document = await self._ask("GET", where)
            if document.get("issuer") != self.config.issuer:  # OpenID Connect Discovery §4.3
                raise Unavailable("the provider says that it is another")
            self._endpoints = (self._monotonic(), document)
        return self._endpoints[1]

    async def _ask(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            async with self._http.stream(method, url, timeout=TIMEOUT, follow_redirects=False, **request) as answer:
                body = b""
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise Unavailable("the provider's answer is too long")
        except httpx.HTTPError as error:
            raise Unavailable(f"the provider does not answer: {type(error).__name__}") from error
        if answer.status_code in {400, 401, 403} and method == "POST":
            raise _refused("it does not take this login")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if answer.status_code != 200 or not isinstance(found, dict):
            raise Unavailable(f"the provider answers {answer.status_code}")
        return found


def _checked(url: str) -> str:
    """An address that may be asked.

    Raises:
        Unavailable: it is neither https nor on this machine.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}):
        return url
    raise Unavailable("an OpenID provider is reached over https")


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"the provider's answer is not taken: {why}", code="oidc_refused")
