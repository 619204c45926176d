"""Secrets that must be read again (unlike passwords, which are only compared): sealed with a key that the database does not have.

AES-256-GCM; the key is 32 random bytes in the file `seal.key` (mode 0600) in the keys directory. What is sealed for one purpose and
subject opens for no other.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from adapters.secret_files import write_file
from chat.errors import Unavailable

KEY = "seal.key"
_NONCE = 12


def ensure_seal(keys_dir: Path) -> bool:
    """Make the key if there is none; whether one was made."""
    if (keys_dir / KEY).exists():
        return False
    write_file(keys_dir / KEY, base64.urlsafe_b64encode(secrets.token_bytes(32)))
    return True


class Seal:
    """Seals and opens.

    Args:
        keys_dir: where the key is; read once.

    Raises:
        Unavailable: the key can't be read.
    """

    def __init__(self, keys_dir: Path) -> None:
        try:
            self._cipher = AESGCM(base64.urlsafe_b64decode((keys_dir / KEY).read_bytes()))
        except (OSError, ValueError) as error:
            raise Unavailable(f"{keys_dir / KEY} can't be used: {type(error).__name__}; run the bootstrap") from error

    def seal(self, plain: bytes, *, purpose: str) -> str:
        """Base64url text that only `open` with the same purpose reads."""
        nonce = os.urandom(_NONCE)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, purpose.encode())).decode()

    def open(self, sealed: str, *, purpose: str) -> bytes | None:
        """What was sealed; None when it was not sealed by us, or for another purpose."""
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], purpose.encode())
        except (InvalidTag, ValueError, binascii.Error):
            return None
