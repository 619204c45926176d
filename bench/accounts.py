"""Who takes part in the broker comparison, and what they may: the same names, rights and topics on every broker.

| name | may |
|---|---|
| `dev-bench00` … | publish below `devices/{device}/telemetry/` |
| `owner00` … | subscribe to that device's telemetry |
| `u00000` … | subscribe to their inbox, and to who is typing in the chat, if they are its members |
| `speaker` | publish that they are typing in the chat |
| `filler` | subscribe below `devices/dev-filler/telemetry/` |
| `svc-worker` | everything: a service of ours |

These are rows of Pabal's own contract (`chat/topics.py`), so that our broker decides by its real rules.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import NamedTuple

PAIRS = 20
SPEAKER = "speaker"
FILLER = "filler"
FILLER_DEVICE = "dev-filler"
SERVICE = "svc-worker"


class Rights(NamedTuple):
    """Topic filters that somebody may publish and subscribe to."""

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()


def device(number: int) -> str:
    """A publisher."""
    return f"dev-bench{number:02}"


def owner(number: int) -> str:
    """Whoever listens to that device."""
    return f"owner{number:02}"


def user(number: int) -> str:
    """One of the many."""
    return f"u{number:05}"


def chat(members: int) -> str:
    """The chat of the first so many users and the speaker."""
    return f"g-bench{members:05}"


def telemetry(name: str, rest: str = "#") -> str:
    """What a device publishes."""
    return f"devices/{name}/telemetry/{rest}"


def inbox(name: str) -> str:
    """What is for one user alone."""
    return f"users/{name}/inbox"


def typing(room: str, name: str = "+") -> str:
    """Who is typing in a chat."""
    return f"chats/{room}/typing/{name}"


@dataclass(frozen=True, slots=True)
class Accounts:
    """All of them.

    Args:
        users: how many there are of the many.
        chats: sizes of chats.
    """

    users: int
    chats: tuple[int, ...] = ()
    _seed: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)

    def password(self, name: str) -> str:
        """A password for brokers with a password file: 128 bits."""
        return hashlib.blake2b(name.encode(), key=self._seed, digest_size=16).hexdigest()

    def people(self) -> list[str]:
        """Those who sign in as users."""
        return [*map(owner, range(PAIRS)), *map(user, range(self.users)), SPEAKER, FILLER]

    def devices(self) -> dict[str, str]:
        """Every device and its owner."""
        return {device(number): owner(number) for number in range(PAIRS)} | {FILLER_DEVICE: FILLER}

    def rights(self) -> dict[str, Rights]:
        """Who may what."""
        found = {name: Rights(publish=(telemetry(name),)) for name in self.devices()}
        found |= {name: Rights(subscribe=(telemetry(thing),)) for thing, name in self.devices().items()}
        for number in range(self.users):
            name = user(number)
            rooms = tuple(typing(chat(size)) for size in self.chats if number < size)
            found[name] = Rights(subscribe=(inbox(name), *rooms))
        found[SPEAKER] = Rights(publish=tuple(typing(chat(size), SPEAKER) for size in self.chats))
        found[SERVICE] = Rights(publish=("#",), subscribe=("#",))
        return found
