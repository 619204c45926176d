"""Ids: what they look like, how they are made, how they are checked.

| id | shape | who chooses it |
|---|---|---|
| user | handle, `[a-z0-9][a-z0-9._-]{1,31}` | the user, at registration |
| device | `dev-` + handle characters | its owner, at registration |
| service | `svc-` + name | the operator (`svc-bridge`, `svc-api`, …) |
| chat | `[A-Za-z0-9_-]{1,64}` | the server (`g-…` group, `d-…` direct: derived from the pair) |
| message | UUID, canonical text; new ones are UUIDv7 | its sender |
| client id | `{principal}` or `{principal}:{instance}` | the client |

None of them can hold `/`, `+`, `#`, a space or a control character, so any of them can be one level of a topic.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
import uuid

from chat.errors import InvalidId

DEVICE_PREFIX = "dev-"
SERVICE_PREFIX = "svc-"

_HANDLE = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")
_PRINCIPAL = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")
_CHAT = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INSTANCE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_uuid = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


def check_handle(handle: str) -> str:
    """Return `handle` if a person may choose it.

    Raises:
        InvalidId: the shape is wrong, or the prefix belongs to devices or services.
    """
    if not _HANDLE.fullmatch(handle):
        raise InvalidId("a handle is 2 to 32 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit")
    if handle.startswith((DEVICE_PREFIX, SERVICE_PREFIX)):
        raise InvalidId(
            f"handles that start with '{DEVICE_PREFIX}' or '{SERVICE_PREFIX}' are kept for devices and services"
        )
    return handle


def is_principal(text: str) -> bool:
    """Whether `text` has the shape of a user, device or service id."""
    return _PRINCIPAL.fullmatch(text) is not None


def is_device(principal: str) -> bool:
    """Whether the principal is a device (a thing that publishes) rather than a person or service."""
    return principal.startswith(DEVICE_PREFIX)


def is_service(principal: str) -> bool:
    """Whether the principal is one of our own processes."""
    return principal.startswith(SERVICE_PREFIX)


def is_chat_id(text: str) -> bool:
    """Whether `text` has the shape of a chat id."""
    return _CHAT.fullmatch(text) is not None


def check_message_id(text: str) -> str:
    """Return the canonical (lower-case) form of a message id.

    Raises:
        InvalidId: it is not a UUID in its canonical 36-character form.
    """
    if _uuid(text):
        return text
    lowered = text.lower()
    if not _uuid(lowered):
        raise InvalidId("a message id is a UUID (version 7 recommended) such as 01890a5d-ac96-774b-bcce-b302099a8057")
    return lowered


def owns_client_id(principal: str, client_id: str) -> bool:
    """Whether a connection of `principal` may use `client_id`: `{principal}` or `{principal}:{instance}`."""
    if client_id == principal:
        return True
    owner, colon, instance = client_id.partition(":")
    return owner == principal and bool(colon) and _INSTANCE.fullmatch(instance) is not None


def new_message_id(now_ms: int | None = None) -> str:
    """A new UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, 74 random bits.

    Args:
        now_ms: Unix time in milliseconds; the clock's when omitted.
    """
    stamp = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    rand = int.from_bytes(os.urandom(10), "big")
    value = (stamp & (1 << 48) - 1) << 80 | 0x7 << 76 | (rand >> 68 & 0xFFF) << 64 | 0b10 << 62 | rand & (1 << 62) - 1
    return str(uuid.UUID(int=value))


def made_at(unix_ms: float) -> str:
    """How a UUIDv7 begins that is made at a time (the first millisecond from it on). Such beginnings sort as their times do."""
    text = f"{min(max(0, math.ceil(unix_ms)), (1 << 48) - 1):012x}"
    return f"{text[:8]}-{text[8:]}"


def made_between(message_id: str, first: str, last: str) -> bool:
    """Whether an id says that it was made between two times, both included; an id that is no UUIDv7 says nothing.

    Args:
        message_id: in its canonical form.
        first, last: see `made_at`.
    """
    return message_id[14] == "7" and first <= message_id[:13] <= last


def message_id_from_ingest(ingest_id: str) -> str:
    """The message id of a payload that brought none, from the broker's ingest id.

    The ingest id is the same for a DUP resend of the same packet in the same session, so the resend has the same
    message id too and P4 makes it harmless. Version 8 (RFC 9562 §5.8: vendor-defined, here SHA-256 of the ingest id).
    """
    digest = int.from_bytes(hashlib.sha256(ingest_id.encode()).digest()[:16], "big")
    value = digest & ~(0xF << 76) & ~(0b11 << 62) | 0x8 << 76 | 0b10 << 62
    return str(uuid.UUID(int=value))


def new_chat_id(chosen: bytes | None = None) -> str:
    """A new id for a group or channel: unguessable, 128 random bits.

    Args:
        chosen: those bits.
    """
    return "g-" + (os.urandom(16) if chosen is None else chosen).hex()


def is_direct_chat(chat: str) -> bool:
    """Whether a chat is one of two people; their ids are told apart by their first letters."""
    return chat.startswith("d-")


def direct_chat_id(one: str, other: str) -> str:
    """The id of the direct chat of two users: the same for both orders, so that a pair has one chat."""
    pair = "\n".join(sorted((one, other)))
    return "d-" + hashlib.sha256(pair.encode()).hexdigest()[:32]
