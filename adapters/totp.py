"""Time-based one-time passwords (RFC 6238): SHA-1, 6 digits, 30 seconds, which is what authenticator apps know."""

from __future__ import annotations

from base64 import b32encode
from hmac import compare_digest
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

DIGITS = 6
STEP_SECONDS = 30
SECRET_BYTES = 20

DRIFT = 1
"""Steps that a phone's clock may be off, each way (RFC 6238 §5.2)."""


def code_at(secret: bytes, step: int) -> str:
    """The code of one time step."""
    return HOTP(secret, DIGITS, SHA1()).generate(step).decode("ascii")  # noqa: S303 - HMAC, as the RFC says


def matching_step(secret: bytes, code: str, *, now: float, after: int) -> int | None:
    """The time step that a code is of; None when it is of none that may be used.

    Args:
        now: Unix time in seconds.
        after: the last step that was used: a code works once (RFC 6238 §5.2).
    """
    if len(code) != DIGITS or not (code.isascii() and code.isdigit()):
        return None
    current = int(now) // STEP_SECONDS
    fitting = [
        step for step in range(current - DRIFT, current + DRIFT + 1) if compare_digest(code_at(secret, step), code)
    ]
    return next((step for step in fitting if step > after), None)


def base32(secret: bytes) -> str:
    """The secret as people type it."""
    return b32encode(secret).decode("ascii").rstrip("=")


def uri(secret: bytes, *, account: str, issuer: str) -> str:
    """What the QR code says (`otpauth://`)."""
    query = {"secret": base32(secret), "issuer": issuer, "algorithm": "SHA1", "digits": DIGITS, "period": STEP_SECONDS}
    return f"otpauth://totp/{quote(issuer)}:{quote(account)}?{urlencode(query, quote_via=quote)}"
