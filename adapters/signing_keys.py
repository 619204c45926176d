"""The keys that sign access tokens, in files: made, published, rotated without logging anyone out, withdrawn.

| path | what |
|---|---|
| `{keys_dir}/{kid}.json` | a private JWK, mode 0600; the one with the greatest `kid` signs (a kid begins with its UTC time of making) |
| `{keys_dir}/retired/{kid}.json` | the public half of one that signs no more, with `until`: Unix seconds at which its last token has expired |
| the JWKS file | the public halves of all of them, for verifiers |

A rotation publishes the public half first, and lets the key sign only when every verifier can have read it. The private half of the
older keys is deleted then: what is gone can't be stolen. A process that is killed in the middle leaves keys that all verify.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from adapters.secret_files import PUBLIC, write_file
from chat.errors import Conflict, NotFound, Unavailable

ALGORITHM: Final = "EdDSA"
CURVE: Final = "Ed25519"

RETIRED = "retired"
"""The directory within the keys directory."""

AHEAD_SECONDS = 2.0
"""How long a new key is public before it signs: verifiers look for a kid that they don't know at most once a second."""

KEPT_SECONDS = 20 * 60
"""How long a retired key goes on verifying: the 15 minutes of a token, and what issuers and clocks may be late."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key.

    Attributes:
        state: `signing`; `waiting` for a private key that is not the newest; `retired`.
        until: Unix seconds at which a retired key stops verifying.
    """

    kid: str
    state: str
    until: int | None = None


def new_key(keys_dir: Path, *, now: datetime | None = None) -> str:
    """Make a signing key; issuers sign with it from their next reading on.

    Returns:
        its kid.
    """
    key = _make(now)
    _store(keys_dir, key)
    return str(key.kid)


def load_keys(keys_dir: Path) -> list[OKPKey]:
    """All private keys, the newest first.

    Raises:
        Unavailable: the directory or a file in it can't be read.
    """
    try:
        files = sorted(keys_dir.glob("*.json"), reverse=True)
        return [import_key(json.loads(file.read_bytes()), private=True) for file in files]
    except (OSError, ValueError, JoseError) as error:
        raise Unavailable(f"the signing keys in {keys_dir} can't be read: {type(error).__name__}") from error


def write_jwks(keys_dir: Path, jwks_file: Path, *, clock: Callable[[], float] = time.time) -> list[str]:
    """Publish the public half of every key, and forget retired ones whose tokens have expired.

    Returns:
        the kids, newest first.
    """
    return _publish(keys_dir, jwks_file, load_keys(keys_dir), clock())


def rotate(
    keys_dir: Path,
    jwks_file: Path,
    *,
    clock: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Make a key that signs from now on, and retire the others. Nobody is logged out: their tokens stay valid.

    Returns:
        the new kid.

    Raises:
        Unavailable: the keys that are there can't be read.
    """
    older = load_keys(keys_dir)
    key = _make(datetime.fromtimestamp(clock(), UTC))
    _publish(keys_dir, jwks_file, [key, *older], clock())
    pause(AHEAD_SECONDS)
    _store(keys_dir, key)
    until = int(clock()) + KEPT_SECONDS
    for old in older:
        public = {**old.as_dict(private=False), "until": until}
        write_file(keys_dir / RETIRED / f"{old.kid}.json", json.dumps(public).encode())
        (keys_dir / f"{old.kid}.json").unlink()
    write_jwks(keys_dir, jwks_file, clock=clock)
    return str(key.kid)


def withdraw(keys_dir: Path, jwks_file: Path, kid: str) -> None:
    """Let a key verify no more, because somebody else may have it: its tokens are refused from the verifiers' next reading on.

    Raises:
        NotFound: `unknown_key`.
        Conflict: `signing_key`: it signs now; rotate first.
    """
    found = {state.kid: state for state in states(keys_dir)}
    if kid not in found:
        raise NotFound(f"there is no key {kid}", code="unknown_key")
    if found[kid].state == "signing":
        raise Conflict("this key signs now: rotate first, then retire it", code="signing_key")
    directory = keys_dir / RETIRED if found[kid].state == RETIRED else keys_dir
    (directory / f"{kid}.json").unlink()
    write_jwks(keys_dir, jwks_file)


def states(keys_dir: Path) -> list[KeyState]:
    """All keys, the newest first.

    Raises:
        Unavailable: they can't be read.
    """
    private = [str(key.kid) for key in load_keys(keys_dir)]
    found = [KeyState(kid, "signing" if number == 0 else "waiting") for number, kid in enumerate(private)]
    return found + [KeyState(str(one["kid"]), RETIRED, int(one["until"])) for _, one in _retired(keys_dir)]


def import_key(value: Mapping[str, Any], *, private: bool) -> OKPKey:
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


def _make(now: datetime | None) -> OKPKey:
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S")
    kid = f"{moment}-{secrets.token_hex(4)}"
    return OKPKey.generate_key(CURVE, {"kid": kid, "use": "sig", "alg": ALGORITHM})


def _store(keys_dir: Path, key: OKPKey) -> None:
    write_file(keys_dir / f"{key.kid}.json", json.dumps(key.as_dict(private=True)).encode())


def _publish(keys_dir: Path, jwks_file: Path, signing: list[OKPKey], now: float) -> list[str]:
    public = [key.as_dict(private=False) for key in signing]
    held = {str(key.kid) for key in signing}
    for file, retired in _retired(keys_dir):
        if retired["until"] <= now:
            file.unlink(missing_ok=True)
        elif retired["kid"] not in held:  # a rotation that was killed half way leaves both halves
            public.append({name: value for name, value in retired.items() if name != "until"})
    write_file(jwks_file, json.dumps({"keys": public}, indent=1).encode(), mode=PUBLIC)
    return [str(key["kid"]) for key in public]


def _retired(keys_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    try:
        files = sorted((keys_dir / RETIRED).glob("*.json"), reverse=True)
        found = [(file, json.loads(file.read_bytes())) for file in files]
        for _, one in found:
            import_key(one, private=False)
            int(one["until"])
    except (OSError, LookupError, TypeError, ValueError, JoseError) as error:
        raise Unavailable(f"the retired keys in {keys_dir} can't be read: {type(error).__name__}") from error
    return found
