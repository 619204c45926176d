"""A push service for browsers (RFC 8030) on one machine, with browsers that subscribe to it: part of the FCM emulator's process.

| request | what it does |
|---|---|
| `POST /control/subscriptions` | `{"key": "<the server's public key>"}`: a browser subscribes with key material of its own; answers what `PushSubscription.toJSON()` gives |
| `DELETE /control/subscriptions/{id}` | the browser is gone: the next push is answered 410 |
| `POST /push/{id}` | takes a push as a push service does (TTL, VAPID, size), or answers as the rules say; then reads it as the browser would |

What it was sent stands among `/control/messages`: the token is the id, the message is what was in it, with its `headers`.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

MAX_SUBSCRIPTIONS = 100_000
MAX_BODY = 4_096
"""Bytes that a push service has to take (RFC 8030 §7.2); this one takes no more."""

_DAY = 86_400


class NotTaken(Exception):
    """The push service's refusal."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Browser:
    """One subscription, from the browser's side.

    Attributes:
        server_key: whose pushes alone are taken.
    """

    id: str
    private: ec.EllipticCurvePrivateKey
    auth: bytes
    server_key: str

    @classmethod
    def subscribe(cls, server_key: str) -> Browser:
        """With key material of its own."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(secrets.token_urlsafe(24), key, secrets.token_bytes(16), server_key)

    def to_json(self, base_url: str) -> dict[str, Any]:
        """As `PushSubscription.toJSON()`."""
        keys = {"p256dh": _packed(_point(self.private.public_key())), "auth": _packed(self.auth)}
        return {"endpoint": f"{base_url}/push/{self.id}", "expirationTime": None, "keys": keys}

    def read(self, body: bytes) -> dict[str, Any]:
        """Undo the encryption (RFC 8291, RFC 8188), of a single record, and parse the JSON in it.

        Raises:
            NotTaken: this browser can't read it.
        """
        salt, rest = body[:16], body[20:]
        sender = rest[1 : 1 + rest[0]] if rest else b""
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
            info = b"WebPush: info\0" + _point(self.private.public_key()) + sender
            shared = _derived(self.private.exchange(ec.ECDH(), public), self.auth, info, 32)
            key = _derived(shared, salt, b"Content-Encoding: aes128gcm\0", 16)
            nonce = _derived(shared, salt, b"Content-Encoding: nonce\0", 12)
            padded = AESGCM(key).decrypt(nonce, rest[1 + rest[0] :], None).rstrip(b"\0")
            if padded[-1:] != b"\x02":
                raise NotTaken(HTTPStatus.BAD_REQUEST, "not one record")
            found: dict[str, Any] = json.loads(padded[:-1])
        except (ValueError, InvalidTag, IndexError):
            raise NotTaken(HTTPStatus.BAD_REQUEST, "this browser can't read it") from None
        return found


class WebPushService:
    """The push service: who has subscribed, and what it takes."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._browsers: dict[str, Browser] = {}

    def subscribe(self, server_key: str) -> dict[str, Any]:
        """A new browser; the oldest makes room."""
        if len(self._browsers) >= MAX_SUBSCRIPTIONS:
            del self._browsers[next(iter(self._browsers))]
        browser = Browser.subscribe(server_key)
        self._browsers[browser.id] = browser
        return browser.to_json(self.base_url)

    def unsubscribe(self, browser_id: str) -> None:
        """The browser is gone."""
        self._browsers.pop(browser_id, None)

    def take(self, browser_id: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """What a browser reads of a push.

        Raises:
            NotTaken: with the status that says why.
        """
        browser = self._browsers.get(browser_id)
        if browser is None:
            raise NotTaken(HTTPStatus.GONE, "there is no such subscription any more")
        if not headers.get("ttl", "").isdecimal():
            raise NotTaken(HTTPStatus.BAD_REQUEST, "a push has a TTL")
        if len(headers.get("topic", "")) > 32:
            raise NotTaken(HTTPStatus.BAD_REQUEST, "a topic has at most 32 characters")
        if len(body) > MAX_BODY:
            raise NotTaken(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too large")
        self._check_sender(browser, headers.get("authorization", ""))
        if headers.get("content-encoding") != "aes128gcm":
            raise NotTaken(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "only aes128gcm is understood")
        return browser.read(body)

    def _check_sender(self, browser: Browser, authorization: str) -> None:
        """VAPID (RFC 8292 §3): a fresh signature of the key that the browser was given, for this service."""
        scheme, _, rest = authorization.partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if scheme != "vapid" or parts.get("k") != browser.server_key:
            raise NotTaken(HTTPStatus.FORBIDDEN, "not the key that this subscription was made with")
        raw = _unpacked(browser.server_key)
        numbers: dict[str, str | list[str]] = {
            "kty": "EC",
            "crv": "P-256",
            "x": _packed(raw[1:33]),
            "y": _packed(raw[33:]),
        }
        try:
            claims = jwt.decode(parts.get("t", ""), ECKey.import_key(numbers), algorithms=["ES256"]).claims
            jwt.JWTClaimsRegistry(
                aud={"essential": True, "value": self.base_url}, exp={"essential": True}, sub={"essential": True}
            ).validate(claims)
        except (JoseError, ValueError):
            raise NotTaken(HTTPStatus.FORBIDDEN, "not signed by that key for this service") from None
        if claims["exp"] > time.time() + _DAY or not str(claims["sub"]).startswith(("mailto:", "https://")):
            raise NotTaken(HTTPStatus.FORBIDDEN, "good for more than a day, or of nobody who can be asked")


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
