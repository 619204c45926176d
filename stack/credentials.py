"""`credentials.json`: the first users, made once with random passwords; `api.bootstrap` puts them into the database.

{"admin": {"handle": "admin", "password": "…", "display_name": "관리자"},
 "users": [{"handle": "haneul", "password": "…", "display_name": "하늘"}, {"handle": "bada", …}]}
"""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TypedDict

from stack.state import write_atomically

PASSWORD_BYTES = 18
"""144 bits, 24 characters: nobody types them, and nobody guesses them."""

SECRET_BYTES = 32


class Credential(TypedDict):
    """One user who can sign in."""

    handle: str
    password: str
    display_name: str


class Credentials(TypedDict):
    """The whole file."""

    admin: Credential
    users: list[Credential]


def ensure(path: Path) -> Credentials:
    """The users of this state directory; made at its first start, kept ever after."""
    if path.exists():
        return read(path)
    made: Credentials = {"admin": _new("admin", "관리자"), "users": [_new("haneul", "하늘"), _new("bada", "바다")]}
    write_atomically(path, json.dumps(made, ensure_ascii=False, indent=2) + "\n", mode=0o600)
    return made


def ensure_secret(path: Path) -> None:
    """A file with 256 random bits; made once, kept ever after."""
    if not path.exists():
        write_atomically(path, secrets.token_urlsafe(SECRET_BYTES) + "\n", mode=0o600)


def read(path: Path) -> Credentials:
    """The users of this state directory.

    Raises:
        FileNotFoundError: the stack has never been started there.
    """
    found: Credentials = json.loads(path.read_bytes())
    return found


def _new(handle: str, display_name: str) -> Credential:
    return {"handle": handle, "password": secrets.token_urlsafe(PASSWORD_BYTES), "display_name": display_name}
