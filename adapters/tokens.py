"""Access tokens: who signs them, how they are checked, where the keys are.

A token is a JWT (RFC 7519) signed with Ed25519 (RFC 8037), header `{"alg": "EdDSA", "kid": …, "typ": "JWT"}`, claims:

| claim | value |
|---|---|
| `iss`, `aud` | `pabal` |
| `sub` | the user's handle, a device or a service account |
| `sid` | the grant (sign-in) that the token came from, or the id of the secret |
| `scope` | `user` or `user admin`; `device`; what a service account was given (`chat.permissions.Scope`) |
| `iat`, `nbf`, `exp` | Unix seconds; a token lives 15 minutes |
| `jti` | random |

Keys: `adapters.signing_keys` says where they are. The newest one signs. Verifiers read the JWKS file again when they meet a `kid`
that they don't know, and once a minute, so that a key that was withdrawn stops working.

Nothing here ever puts a token, or a part of one, into an error or a log.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import msgspec
import structlog
from joserfc import jws, jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode

from adapters.signing_keys import ALGORITHM, import_key, load_keys
from chat.errors import InvalidId, Unauthenticated, Unavailable
from chat.ids import check_handle, is_device, is_principal, is_service
from chat.permissions import Scope, token_scope

ISSUER: Final = "pabal"
AUDIENCE: Final = "pabal"

ACCESS_TTL = 15 * 60
"""Seconds that an access token lives. Short, because it is not looked up in every place that accepts it."""

LEEWAY = 10
"""Seconds that two clocks may disagree."""

VERIFIED = 4_096
"""Tokens whose signature is remembered: up to 8 MB of them."""

MAX_TOKEN_BYTES = 2048
"""Ours have about 450; what is longer is not worth a signature check."""

UNKNOWN_KID_INTERVAL = 1.0
"""Seconds between two readings of the JWKS file that unknown kids may cause: forged ones must not become a load on the disk."""

WITHDRAWN_INTERVAL = 60.0
"""Seconds after which the file is read again anyway."""

ISSUER_INTERVAL = 5.0
"""Seconds between two looks of an issuer for a newer key."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for the client. `repr` hides it, so that no log shows it by accident."""

    value: str
    expires_in: int

    def __repr__(self) -> str:
        return f"AccessToken(expires_in={self.expires_in})"


class Claims(msgspec.Struct, frozen=True):
    """What a valid token says."""

    iss: str
    aud: str
    sub: str
    sid: str
    scope: str
    nbf: int
    exp: int
    iat: int

    @property
    def admin(self) -> bool:
        """Whether the administration routes are open."""
        return "admin" in self.scope.split()


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """The only header that we accept: no `jwk`, `jku`, `x5u`, `crit` or `b64`, one algorithm, a named key."""

    alg: Literal["EdDSA"]
    kid: str
    typ: Literal["JWT"]


class _OnlyEdDSA(jws.JWSRegistry):
    """Pins the algorithm. joserfc warns about the name `EdDSA` because it covers Ed448 too (RFC 9864); we pin the curve with the key."""

    def get_alg(self, name: str) -> JWSAlgModel:
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError("another algorithm")
        return self.algorithms[name]


_log = structlog.get_logger("tokens")

_REGISTRY = _OnlyEdDSA()
_read_header = msgspec.json.Decoder(_Header)
_read_claims = msgspec.json.Decoder(Claims)


class TokenIssuer:
    """Signs access tokens with the newest key.

    Args:
        keys_dir: where the private keys are; looked at again every few seconds, so that a rotation needs no restart.
        ttl: seconds that a token lives.
        clock: Unix time in seconds.
        monotonic: seconds of a clock that never jumps.

    Raises:
        Unavailable: there is no key, or none that can be read.
    """

    def __init__(
        self,
        keys_dir: Path,
        *,
        ttl: int = ACCESS_TTL,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        keys = load_keys(keys_dir)
        if not keys:
            raise Unavailable(f"there is no signing key in {keys_dir}: run `python -m api.bootstrap`")
        self._keys_dir = keys_dir
        self._key = keys[0]
        self._ttl = ttl
        self._clock = clock
        self._monotonic = monotonic
        self._looked_at = monotonic()

    def issue(self, subject: str, *, sid: str, admin: bool = False, scope: str | None = None) -> AccessToken:
        """A token for `subject`.

        Args:
            subject: a user, or with `scope` a device or service account.
            sid: the sign-in that it belongs to; of devices and service accounts `credential_id` of their secret.
            admin: of a user.
            scope: what it opens; a user's follows from `admin`.
        """
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": subject,
            "sid": sid,
            "scope": token_scope(admin=admin) if scope is None else scope,
            "iat": now,
            "nbf": now,
            "exp": now + self._ttl,
            "jti": secrets.token_hex(16),
        }
        key = self._newest()
        header = {"alg": ALGORITHM, "kid": str(key.kid)}
        return AccessToken(jwt.encode(header, claims, key, registry=_REGISTRY), self._ttl)

    def _newest(self) -> OKPKey:
        now = self._monotonic()
        if now - self._looked_at >= ISSUER_INTERVAL:
            self._looked_at = now
            try:
                self._key = next(iter(load_keys(self._keys_dir)), self._key)
            except Unavailable as error:  # a file that is being moved: what signed goes on signing
                _log.warning("keys.unreadable", reason=error.reason)
        return self._key


class Jwks:
    """The public keys, from their file.

    Args:
        file: a JWKS; keys in it that are not Ed25519 signing keys are ignored.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, file: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._monotonic = monotonic
        self._keys: dict[str, OKPKey] = {}
        self._content = b""
        self._tried_at: float | None = None

    def key(self, kid: str) -> OKPKey | None:
        """The key of that name, or None.

        Raises:
            Unavailable: no key is known at all.
        """
        self._refresh(WITHDRAWN_INTERVAL)
        if kid not in self._keys:
            self._refresh(UNKNOWN_KID_INTERVAL)
        if not self._keys:
            raise Unavailable("the signing keys can't be read now")
        return self._keys.get(kid)

    def document(self) -> dict[str, list[dict[str, Any]]]:
        """The set as JSON, public members only, whatever the file holds."""
        self._refresh(UNKNOWN_KID_INTERVAL)
        return {"keys": [dict(key.as_dict(private=False)) for key in self._keys.values()]}

    def _refresh(self, interval: float) -> None:
        now = self._monotonic()
        if self._tried_at is not None and now - self._tried_at < interval:
            return
        self._tried_at = now
        try:
            content = self._file.read_bytes()
            if content != self._content:  # the same keys stay the same objects: see `TokenVerifier`
                self._keys, self._content = _public_keys(json.loads(content)), content
        except (OSError, ValueError):
            return  # half of a file, or none: what was known stays known, and `key` tells when that is nothing


class TokenVerifier:
    """Checks access tokens. Whether a signature is right is found out once per token and key: it takes some 200 µs, and a client comes
    with the same token for a quarter of an hour. What may change (the keys, the time) is looked at each time.

    Args:
        jwks: the keys that may have signed.
        clock: Unix time in seconds.
    """

    def __init__(self, jwks: Jwks, *, clock: Callable[[], float] = time.time) -> None:
        self._jwks = jwks
        self._clock = clock
        self._verified: OrderedDict[str, tuple[OKPKey, Claims]] = OrderedDict()

    def verify(self, token: str) -> Claims:
        """What the token says, if we signed it and it is valid now.

        Whether the sign-in behind it still lives is the caller's question (`chat.ports.GrantStore.alive`).

        Raises:
            Unauthenticated: `token_expired`, or `invalid_token` for anything else that is wrong with it.
            Unavailable: the keys can't be read.
        """
        claims = self._signed(token)
        now = self._clock()
        if claims.iss != ISSUER or claims.aud != AUDIENCE or not claims.sid or not _is_whole(claims):
            _refuse()
        if now < claims.nbf - LEEWAY:
            _refuse()
        if now >= claims.exp + LEEWAY:
            raise Unauthenticated("the access token has expired", code="token_expired")
        return claims

    def _signed(self, token: str) -> Claims:
        """The claims of a token whose signature is right."""
        if len(token) > MAX_TOKEN_BYTES or not token.isascii():
            _refuse()
        try:
            header = _read_header.decode(urlsafe_b64decode(token.partition(".")[0].encode()))
        except (msgspec.DecodeError, ValueError, RecursionError):
            _refuse()
        key = self._jwks.key(header.kid)
        if key is None:
            _refuse()
        known = self._verified.get(token)
        if known is not None and known[0] is key:
            self._verified.move_to_end(token)
            return known[1]
        try:
            claims = _read_claims.decode(jws.deserialize_compact(token, key, registry=_REGISTRY).payload)
        except (JoseError, msgspec.DecodeError, ValueError, RecursionError):
            _refuse()
        self._verified[token] = (key, claims)
        if len(self._verified) > VERIFIED:
            self._verified.popitem(last=False)
        return claims


def credential_id(secret_hash: str) -> str:
    """The `sid` of a token that was got with a secret: with another secret it is another one, and the token is no longer valid."""
    return hashlib.sha256(f"sid:{secret_hash}".encode()).hexdigest()[:32]


def _is_whole(claims: Claims) -> bool:
    """Whether the scopes can be those of the subject: `user` is a person's, and only a person's."""
    scopes = claims.scope.split()
    if is_principal(claims.sub) and (is_device(claims.sub) or is_service(claims.sub)):
        return bool(scopes) and Scope.USER not in scopes and (Scope.DEVICE in scopes) == is_device(claims.sub)
    try:
        check_handle(claims.sub)
    except InvalidId:
        return False
    return Scope.USER in scopes


def _refuse() -> NoReturn:
    """One answer for everything that is wrong with a token: it helps nobody to know how close a forgery came."""
    raise Unauthenticated("the access token is not valid", code="invalid_token") from None


def _public_keys(document: Any) -> dict[str, OKPKey]:
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no JWKS")  # noqa: TRY004 - the caller treats any wrong content alike
    keys: dict[str, OKPKey] = {}
    for value in document["keys"]:
        try:
            key = import_key(value, private=False)
        except (ValueError, JoseError):
            continue  # RFC 7517 §5: a key that is not understood is ignored, the others count
        keys.setdefault(str(key.kid), key)
    return keys
