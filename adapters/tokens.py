"""Access tokens: who signs them, how they are checked, where the keys are.

A token is a JWT (RFC 7519) signed with Ed25519 (RFC 8037), header `{"alg": "EdDSA", "kid": …, "typ": "JWT"}`, claims:

| claim | value |
|---|---|
| `iss`, `aud` | `pabal` |
| `sub` | the user's handle |
| `sid` | the grant (sign-in) that the token came from |
| `scope` | `user`, or `user admin` |
| `iat`, `nbf`, `exp` | Unix seconds; a token lives 15 minutes |
| `jti` | random |

Keys: one private JWK per file `{kid}.json` (mode 0600) in the keys directory, of which the one with the greatest `kid` signs
(a kid begins with its UTC time of making); the public half of all of them in one JWKS file, which verifiers re-read when they meet
a `kid` that they don't know, and once a minute, so that a key that was withdrawn stops working.

Nothing here ever puts a token, or a part of one, into an error or a log.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import msgspec
from joserfc import jws, jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import OKPKey
from joserfc.util import urlsafe_b64decode

from adapters.secret_files import PUBLIC, write_file
from chat.errors import InvalidId, Unauthenticated, Unavailable
from chat.ids import check_handle

ISSUER: Final = "pabal"
AUDIENCE: Final = "pabal"
ALGORITHM: Final = "EdDSA"
CURVE: Final = "Ed25519"

ACCESS_TTL = 15 * 60
"""Seconds that an access token lives. Short, because it is not looked up in every place that accepts it."""

LEEWAY = 10
"""Seconds that two clocks may disagree."""

MAX_TOKEN_BYTES = 2048
"""Ours have about 450; what is longer is not worth a signature check."""

UNKNOWN_KID_INTERVAL = 1.0
"""Seconds between two readings of the JWKS file that unknown kids may cause: forged ones must not become a load on the disk."""

WITHDRAWN_INTERVAL = 60.0
"""Seconds after which the file is read again anyway."""


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


_REGISTRY = _OnlyEdDSA()
_read_header = msgspec.json.Decoder(_Header)
_read_claims = msgspec.json.Decoder(Claims)


def new_key(keys_dir: Path, *, now: datetime | None = None) -> str:
    """Make a signing key; it signs as soon as issuers start anew.

    Returns:
        its kid.
    """
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S")
    kid = f"{moment}-{secrets.token_hex(4)}"
    key = OKPKey.generate_key(CURVE, {"kid": kid, "use": "sig", "alg": ALGORITHM})
    write_file(keys_dir / f"{kid}.json", json.dumps(key.as_dict(private=True)).encode())
    return kid


def load_keys(keys_dir: Path) -> list[OKPKey]:
    """All private keys, the newest first.

    Raises:
        Unavailable: the directory or a file in it can't be read.
    """
    try:
        files = sorted(keys_dir.glob("*.json"), reverse=True)
        return [_import(json.loads(file.read_bytes()), private=True) for file in files]
    except (OSError, ValueError, JoseError) as error:
        raise Unavailable(f"the signing keys in {keys_dir} can't be read: {type(error).__name__}") from error


def write_jwks(keys_dir: Path, jwks_file: Path) -> list[str]:
    """Publish the public half of every key.

    Returns:
        the kids, newest first.
    """
    keys = load_keys(keys_dir)
    document = {"keys": [key.as_dict(private=False) for key in keys]}
    write_file(jwks_file, json.dumps(document, indent=1).encode(), mode=PUBLIC)
    return [str(key.kid) for key in keys]


class TokenIssuer:
    """Signs access tokens with the newest key.

    Args:
        keys_dir: where the private keys are; read once.
        ttl: seconds that a token lives.
        clock: Unix time in seconds.

    Raises:
        Unavailable: there is no key, or none that can be read.
    """

    def __init__(self, keys_dir: Path, *, ttl: int = ACCESS_TTL, clock: Callable[[], float] = time.time) -> None:
        keys = load_keys(keys_dir)
        if not keys:
            raise Unavailable(f"there is no signing key in {keys_dir}: run `python -m api.bootstrap`")
        self._key = keys[0]
        self._ttl = ttl
        self._clock = clock

    def issue(self, user: str, *, sid: str, admin: bool = False) -> AccessToken:
        """A token for `user` that belongs to the sign-in `sid`."""
        now = int(self._clock())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "sid": sid,
            "scope": "user admin" if admin else "user",
            "iat": now,
            "nbf": now,
            "exp": now + self._ttl,
            "jti": secrets.token_hex(16),
        }
        header = {"alg": ALGORITHM, "kid": str(self._key.kid)}
        return AccessToken(jwt.encode(header, claims, self._key, registry=_REGISTRY), self._ttl)


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
            found = json.loads(self._file.read_bytes())
            self._keys = _public_keys(found)
        except (OSError, ValueError):
            return  # half of a file, or none: what was known stays known, and `key` tells when that is nothing


class TokenVerifier:
    """Checks access tokens.

    Args:
        jwks: the keys that may have signed.
        clock: Unix time in seconds.
    """

    def __init__(self, jwks: Jwks, *, clock: Callable[[], float] = time.time) -> None:
        self._jwks = jwks
        self._clock = clock

    def verify(self, token: str) -> Claims:
        """What the token says, if we signed it and it is valid now.

        Whether the sign-in behind it still lives is the caller's question (`chat.ports.GrantStore.alive`).

        Raises:
            Unauthenticated: `token_expired`, or `invalid_token` for anything else that is wrong with it.
            Unavailable: the keys can't be read.
        """
        claims = self._signed(token)
        now = self._clock()
        if claims.iss != ISSUER or claims.aud != AUDIENCE or "user" not in claims.scope.split() or not claims.sid:
            _refuse()
        try:
            check_handle(claims.sub)
        except InvalidId:
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
        try:
            return _read_claims.decode(jws.deserialize_compact(token, key, registry=_REGISTRY).payload)
        except (JoseError, msgspec.DecodeError, ValueError, RecursionError):
            _refuse()


def _refuse() -> NoReturn:
    """One answer for everything that is wrong with a token: it helps nobody to know how close a forgery came."""
    raise Unauthenticated("the access token is not valid", code="invalid_token") from None


def _import(value: Mapping[str, Any], *, private: bool) -> OKPKey:
    """One key of ours.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, dict) or value.get("kty") != "OKP" or value.get("crv") != CURVE:
        raise ValueError("no Ed25519 key")
    key = OKPKey.import_key({name: member for name, member in value.items() if isinstance(member, str)})
    if not isinstance(key.kid, str) or key.is_private < private:
        raise ValueError("an Ed25519 key without its kid or its private half")
    return key


def _public_keys(document: Any) -> dict[str, OKPKey]:
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("no JWKS")  # noqa: TRY004 - the caller treats any wrong content alike
    keys: dict[str, OKPKey] = {}
    for value in document["keys"]:
        try:
            key = _import(value, private=False)
        except (ValueError, JoseError):
            continue  # RFC 7517 §5: a key that is not understood is ignored, the others count
        keys.setdefault(str(key.kid), key)
    return keys
