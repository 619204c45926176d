"""Small files that hold secrets or keys: written whole or not at all, and readable by their owner only.

Reading and writing here blocks for microseconds on a local disk; callers in an event loop bound how often they do it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

PRIVATE = 0o600
PUBLIC = 0o644


def write_file(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Write `path` atomically: a reader sees the old content or the new, and a crash leaves one of them.

    The directory is made (mode 0700) when it is not there.

    Raises:
        OSError: the place can't be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)  # the umask may have taken bits that a public file needs
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            scratch.unlink()
        raise


def new_secret() -> str:
    """256 random bits, base64url: for services, devices and refresh tokens."""
    return secrets.token_urlsafe(32)
