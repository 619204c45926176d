"""A message on its way to one client, and what may become of it."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from mqtt.messages import Message
from mqtt.qos2 import FIRST


class Outcome(Enum):
    """What became of a message that was to be delivered."""

    SENT = auto()
    QUEUED = auto()
    OFFLINE = auto()
    """QoS 0 for a session without connection: not kept (5.0 §4.1.0, a server's choice)."""
    QUEUE_FULL = auto()
    STALLED = auto()
    """QoS 0 for a connection that doesn't read: dropped rather than buffered."""
    TOO_LARGE = auto()
    """Larger than the client takes [MQTT-3.1.2-24]."""
    EXPIRED = auto()


class Outgoing:
    """A QoS 1 or 2 message on its way to a client.

    Attributes:
        awaits: what it waits for once it was sent.
        origin: who waits for this client's acknowledgement; the engine hands it back with that.
        share: the group of the shared subscription that it came by.
        key: of its record in the journal, 0 without one.
        withdrawn: only its packet id is still in use.
    """

    __slots__ = ("awaits", "identifiers", "key", "message", "origin", "retain", "share", "withdrawn")

    def __init__(
        self, message: Message, qos: int, retain: bool, identifiers: tuple[int, ...], origin: Any, share: Any
    ) -> None:
        self.message = message
        self.awaits = FIRST[qos]
        self.retain = retain
        self.identifiers = identifiers
        self.origin = origin
        self.share = share
        self.key = 0
        self.withdrawn = False
