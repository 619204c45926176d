"""What a request that creates something chooses at random: the same again when it is tried again with the same idempotency key.

A process may be killed between two steps of a creation. The client sends the request again with the same key, and this time the same ids and secrets
are chosen: what is there already is found and left, what is missing is made, and the answer is the one that the first attempt would have
given. Without a key every choice is a new one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from chat.ids import message_id_from_ingest, new_message_id


@dataclass(frozen=True, slots=True)
class _Seed:
    value: bytes
    resumed: bool


_seed: ContextVar[_Seed | None] = ContextVar("creation_seed", default=None)


@contextmanager
def seeded(value: bytes, *, resumed: bool) -> Iterator[None]:
    """Let what runs within choose from a seed.

    Args:
        resumed: an earlier attempt with the same seed began, and did not end.
    """
    token = _seed.set(_Seed(value, resumed))
    try:
        yield
    finally:
        _seed.reset(token)


def resumed() -> bool:
    """Whether this is a further attempt at something that may be half done: what it is about to make may be there, and is its own."""
    seed = _seed.get()
    return seed is not None and seed.resumed


def chosen(what: str, size: int) -> bytes:
    """Random bytes; with a seed, always the same for the same `what`.

    Args:
        what: names the choice.
        size: in bytes, at most 32.
    """
    seed = _seed.get()
    if seed is None:
        return secrets.token_bytes(size)
    return hmac.digest(seed.value, what.encode(), hashlib.sha256)[:size]


def secret(what: str) -> str:
    """A secret of 256 bits, base64url."""
    return base64.urlsafe_b64encode(chosen(what, 32)).rstrip(b"=").decode()


def uuid(what: str) -> str:
    """An id of the shape of a message's."""
    return new_message_id() if _seed.get() is None else message_id_from_ingest(chosen(what, 16).hex())
