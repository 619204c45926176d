"""Message encryption for Web Push (RFC 8291), which only the browser that subscribed can undo. Pure, on `cryptography`.

pywebpush was not taken for it: it brings aiohttp along, sends with its own session, and its part of this is `http_ece`, of which there
is no wheel. `tests/unit/adapters/test_web_push.py` has the RFC's own example.
"""

from __future__ import annotations

import base64
import os
from binascii import Error as NotBase64

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUTH_BYTES, POINT_BYTES, SALT_BYTES = 16, 65, 16

RECORD = 4096
"""Bytes of a record, and of all that a push service must take (RFC 8030 §7.2)."""

MAX_PLAIN = RECORD - (SALT_BYTES + 4 + 1 + POINT_BYTES) - 1 - 16
"""Bytes of a message: a record less the header, the delimiter and the tag."""


def encrypt(
    plain: bytes,
    *,
    p256dh: str,
    auth: str,
    salt: bytes | None = None,
    private: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """The body of a push, content encoding `aes128gcm`, in one record.

    Args:
        plain: at most `MAX_PLAIN` bytes.
        p256dh, auth: of the subscription.
        salt, private: chosen at random for each message; given by tests.

    Raises:
        ValueError: the keys are none, or the message is too long.
    """
    if len(plain) > MAX_PLAIN:
        raise ValueError(f"a push has at most {MAX_PLAIN} bytes")
    browser, secret = read_keys(p256dh, auth)
    salt, private = salt or os.urandom(SALT_BYTES), private or ec.generate_private_key(ec.SECP256R1())
    ours, theirs = point(private.public_key()), point(browser)
    info = b"WebPush: info\0" + theirs + ours
    shared = _hkdf(private.exchange(ec.ECDH(), browser), salt=secret, info=info, length=32)
    key = _hkdf(shared, salt=salt, info=b"Content-Encoding: aes128gcm\0", length=16)
    nonce = _hkdf(shared, salt=salt, info=b"Content-Encoding: nonce\0", length=12)
    header = salt + RECORD.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return header + AESGCM(key).encrypt(nonce, plain + b"\x02", None)  # 2: the last record


def read_keys(p256dh: str, auth: str) -> tuple[ec.EllipticCurvePublicKey, bytes]:
    """The keys of a subscription.

    Raises:
        ValueError: they are no point of P-256 and no 16 bytes, each base64url.
    """
    raw, secret = unpadded(p256dh), unpadded(auth)
    if len(secret) != AUTH_BYTES or len(raw) != POINT_BYTES:
        raise ValueError("a subscription has a point of 65 bytes and a secret of 16")
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw), secret


def unpadded(text: str) -> bytes:
    """The bytes of base64url, with or without its padding.

    Raises:
        ValueError: it is none.
    """
    try:
        raw = text.rstrip("=").encode("ascii")
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (NotBase64, UnicodeEncodeError):
        raise ValueError("no base64url") from None


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    """A public key as an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)
