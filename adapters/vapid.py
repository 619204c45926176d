"""The keys by which push services of browsers know us (VAPID, RFC 8292): made, published, changed, withdrawn.

`{vapid_dir}/{kid}.json` is a private JWK (EC, P-256), mode 0600. A kid begins with its time of making, and browsers that subscribe are given
the newest. A subscription belongs to the key that it was made with, for ever: so older keys stay, and sign for the browsers that have them, until
apps have subscribed anew. A key that is deleted takes its subscriptions with it.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from adapters.secret_files import write_file
from chat.errors import NotFound, Unavailable

CURVE: Final = "P-256"

TOKEN_SECONDS = 12 * 3600
"""How long a signature is good; a day is the most that is allowed (RFC 8292 §2)."""

RENEWED_BEFORE = 3600
"""A signature is made anew when it is good for so much less than that."""

REREAD_SECONDS = 10.0
"""How long what was read of the directory is believed."""

MAX_SIGNED = 1_000
"""Signatures that are kept: one per key and push service, of which there are a handful."""


@dataclass(frozen=True, slots=True)
class VapidKey:
    """One key.

    Attributes:
        public: its public half as browsers want it: the uncompressed point, base64url.
    """

    kid: str
    public: str
    private: ECKey


def new_key(directory: Path, *, now: datetime | None = None) -> str:
    """Make a key; browsers that subscribe from now on are given it.

    Returns:
        its kid.
    """
    kid = f"{now or datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"
    key = ECKey.generate_key(CURVE, private=True)
    write_file(directory / f"{kid}.json", json.dumps(key.as_dict(private=True)).encode())
    return kid


def load_keys(directory: Path) -> list[VapidKey]:
    """All keys, the newest first.

    Raises:
        Unavailable: the directory or a file in it can't be read.
    """
    try:
        files = sorted(directory.glob("*.json"), reverse=True)
        return [_key(file.stem, ECKey.import_key(json.loads(file.read_bytes()))) for file in files]
    except (OSError, ValueError, KeyError, JoseError) as error:
        raise Unavailable(f"the keys in {directory} can't be read: {type(error).__name__}") from error


def withdraw(directory: Path, kid: str) -> None:
    """Delete a key. Nobody can push to its subscriptions any more; they are forgotten one by one.

    Raises:
        NotFound: there is none of that name.
    """
    file = directory / f"{kid}.json"
    if file not in list(directory.glob("*.json")):
        raise NotFound(f"there is no key {kid}", code="unknown_key")
    file.unlink()


class VapidKeys:
    """The keys of a directory, read anew now and then. Threads may share it.

    Args:
        directory: of the keys.
        contact: whom a push service may turn to: `mailto:…` or `https://…`.
        clock: Unix time.
    """

    def __init__(self, directory: Path, contact: str, *, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._contact = contact
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._keys: list[VapidKey] = []
        self._signed: dict[tuple[str, str], tuple[str, float]] = {}

    def keys(self) -> list[VapidKey]:
        """All of them, the newest first; none while there are none.

        Raises:
            Unavailable: they can't be read.
        """
        with self._lock:
            if self._clock() - self._read_at > REREAD_SECONDS:
                self._keys, self._read_at = load_keys(self._directory), self._clock()
            return self._keys

    def authorization(self, public: str, origin: str) -> str | None:
        """The header that shows a push service who we are; None when we have that key no more.

        Args:
            public: the key that the subscription was made with.
            origin: of the push service, such as `https://push.example`.

        Raises:
            Unavailable: the keys can't be read.
        """
        key = next((key for key in self.keys() if key.public == public), None)
        if key is None:
            return None
        with self._lock:
            token, until = self._signed.get((public, origin), ("", 0.0))
            if until - self._clock() < RENEWED_BEFORE:
                until = self._clock() + TOKEN_SECONDS
                claims = {"aud": origin, "exp": int(until), "sub": self._contact}
                token = jwt.encode({"typ": "JWT", "alg": "ES256"}, claims, key.private)
                if len(self._signed) >= MAX_SIGNED:
                    self._signed.clear()
                self._signed[public, origin] = (token, until)
        return f"vapid t={token}, k={public}"


def _key(kid: str, key: ECKey) -> VapidKey:
    parts = key.as_dict(private=False)
    point = b"\x04" + _unpacked(str(parts["x"])) + _unpacked(str(parts["y"]))
    if not key.is_private or parts["crv"] != CURVE:
        raise ValueError("no private key of P-256")
    return VapidKey(kid, base64.urlsafe_b64encode(point).rstrip(b"=").decode(), key)


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).rjust(32, b"\0")
