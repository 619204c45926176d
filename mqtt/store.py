"""What of the broker's state outlives its process, as records, and the port to whatever keeps them.

    SessionRecord ─┬─ SubscriptionRecord    what the session subscribed to
                   ├─ EntryRecord ──┐       what waits for its client, or is under way to it
                   ├─ HeldRecord    │       QoS 2 packet ids of its client that are in use
                   ├─ NameRecord    │       the ingest names of its client's packet ids
                   └─ WillRecord    │       what it leaves
    RetainedRecord ─────────────────┴─► MessageRecord    one body, however many wait for it

Changes come as batches. A batch is on disk as a whole or not at all, and batches in the order in which they were given.
Times are seconds of the wall clock, since the epoch: no other clock outlives a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from mqtt.packets import Properties


class StoreUnusable(Exception):
    """The state can't be used: it is damaged, not ours, of a newer version, or in use by another broker."""


class SessionRecord(NamedTuple):
    """A session that outlives its connection. `left_at` is None while a client is connected; `expiry` is seconds."""

    key: int
    client_id: str
    principal: str
    uid: str
    expiry: int
    left_at: float | None


class SubscriptionRecord(NamedTuple):
    """A subscription; `text` is the filter as the client wrote it, `$share/…` included."""

    session: int
    text: str
    qos: int
    no_local: bool
    retain_as_published: bool
    identifiers: tuple[int, ...]


class MessageRecord(NamedTuple):
    """The body of messages that wait, or that are retained."""

    key: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties
    expires_at: float | None
    mark: int | None
    publisher: str


class EntryRecord(NamedTuple):
    """A message for one session; keys rise in the order of delivery.

    `message` is None where only the packet id is still in use; `packet_id` is 0 while the message waits in the queue;
    `awaits` is a value of `mqtt.qos2.Awaits`; `share` is the shared subscription that it came by, or "".
    """

    key: int
    session: int
    message: int | None
    packet_id: int
    awaits: int
    retain: bool
    identifiers: tuple[int, ...]
    share: str


class HeldRecord(NamedTuple):
    """A QoS 2 packet id of the client, between our PUBREC and its PUBREL."""

    session: int
    packet_id: int


class NameRecord(NamedTuple):
    """The number in the ingest id of the client's last publish with a packet id."""

    session: int
    packet_id: int
    number: int


class WillRecord(NamedTuple):
    """A session's will. `due_at` is None while its client is connected; `service` is what the client was."""

    session: int
    service: bool
    due_at: float | None
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties


class RetainedRecord(NamedTuple):
    """The retained message of a topic."""

    topic: str
    message: int


Record = (
    SessionRecord
    | SubscriptionRecord
    | MessageRecord
    | EntryRecord
    | HeldRecord
    | NameRecord
    | WillRecord
    | RetainedRecord
)
Key = int | str | tuple[int, str] | tuple[int, int]

KINDS: tuple[type[Record], ...] = (
    SessionRecord,
    SubscriptionRecord,
    MessageRecord,
    EntryRecord,
    HeldRecord,
    NameRecord,
    WillRecord,
    RetainedRecord,
)
"""In the order in which they are loaded: what is referred to comes first."""

KEY_FIELDS: dict[type[Record], int] = dict.fromkeys(KINDS, 1) | {
    SubscriptionRecord: 2,
    HeldRecord: 2,
    NameRecord: 2,
}
"""How many of a record's first fields are its key."""


@dataclass(slots=True)
class Batch:
    """Changes that become durable together: first what is saved (a record with the same key is replaced), then what is
    forgotten. With a session all that belongs to it is forgotten but entries, which have keys of their own, as bodies have: an
    index to find them by session would cost every message more than it saves.
    """

    saved: dict[type[Record], list[Record]] = field(default_factory=dict)
    forgotten: dict[type[Record], list[Key]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.saved or self.forgotten)

    def __len__(self) -> int:
        return sum(map(len, self.saved.values())) + sum(map(len, self.forgotten.values()))


class SessionStore(Protocol):
    """Keeps what has to outlive the process."""

    @property
    def starts(self) -> int:
        """How often the store has been opened, this time included: a number that no earlier process had."""
        ...

    def counts(self) -> dict[type[Record], int]:
        """How many records of each kind there are."""
        ...

    def load(self) -> Iterator[Record]:
        """Every record, in the order of `KINDS`, entries by key. Before the first `write` only.

        Raises:
            StoreUnusable: a record can't be read.
        """
        ...

    def write(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        """Make a batch durable; `done` is called once it is (with None) or could not be (nothing of it is stored), on
        whatever thread. One batch at a time.
        """
        ...

    def close(self) -> None:
        """Finish what is being written, and let go of the state."""
        ...
