"""Ports: what our processes need from the outside, as Protocols. `adapters/` has two of each: the real one and its
in-memory twin, and `tests/contract/` runs the same tests on both.

Every method that touches the outside may raise `chat.errors.Unavailable` (transient; nothing or all of it happened).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from chat.envelopes import Event, Invalidation
from chat.models import (
    Chat,
    DeadLetter,
    Device,
    Grant,
    Head,
    LetterEvent,
    Member,
    Principal,
    PushToken,
    Receipt,
    Slot,
    User,
    Watermarks,
)


@dataclass(frozen=True, slots=True)
class Inserted:
    """What became of one event of a batch.

    Attributes:
        stored: it is stored now, by this insert.
        taken_by: the stored event that has the same id already (a repeat, or somebody else's id).
        seq_taken: another writer has used this `seq`: reload the head and try again.
    """

    stored: bool
    taken_by: Event | None = None
    seq_taken: bool = False


class MessageStore(Protocol):
    """Stored events. The one place where P1, P3 and P4 are kept: unique id, unique (chat, seq), majority writes."""

    async def insert(self, events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
        """Store a batch, unordered, with write concern majority and journal; one answer per event, in order.

        Args:
            events: to store; several chats may be mixed.
            push: ids of those that get a push mark.
        """
        ...

    async def by_ids(self, ids: Sequence[str]) -> dict[str, Event]:
        """Those of the ids that are stored (read concern majority)."""
        ...

    async def head(self, chat: str) -> Head:
        """The newest stored `seq` and `n` (from the events themselves, not from a cache)."""
        ...

    async def heads(self, chats: Sequence[str]) -> dict[str, Head]:
        """`head` of many chats; chats without events get `Head()`."""
        ...

    async def latest(self, chats: Sequence[str]) -> dict[str, Event]:
        """The newest event of type `message` per chat (for chat lists); chats without one are absent."""
        ...

    async def after(self, chat: str, seq: int, limit: int) -> list[Event]:
        """Events with a greater `seq`, rising."""
        ...

    async def before(self, chat: str, seq: int | None, limit: int) -> list[Event]:
        """The newest events (with a smaller `seq`, if given), rising."""
        ...

    async def n_at(self, chat: str, seqs: Sequence[int]) -> dict[int, int]:
        """The `n` of the given slots."""
        ...

    async def slots(self, chat: str, first: int, last: int) -> dict[int, Slot]:
        """Those from `first` to `last` (both included) that are stored, by `seq`."""
        ...

    async def rewrite(
        self, target: str, *, body: object | None, edited_at: datetime | None, deleted_at: datetime | None
    ) -> None:
        """Change what history shows of a message after an edit (new body) or a delete (no body)."""
        ...

    async def push_pending(self, *, older_than: datetime, limit: int) -> list[str]:
        """Ids of events whose push mark is still there and older than a time."""
        ...

    async def push_claim(self, message_id: str) -> Event | None:
        """The event, if its push mark is still there."""
        ...

    async def push_done(self, message_id: str) -> None:
        """Take the push mark away."""
        ...

    async def erase_expired(self, *, now: datetime, limit: int) -> int:
        """Erase for good the content of events whose `expires_at` has passed, oldest first; how many were erased.

        Reads show such an event as deleted from the moment it expires, whether erased or not. Its slot stays: `seq` is dense (P3).
        """
        ...


class ChatStore(Protocol):
    """Chats and their members."""

    async def create(self, chat: Chat, members: Sequence[Member]) -> bool:
        """Store a chat with its members, all or nothing. False if a chat with that id exists already."""
        ...

    async def get(self, chat: str) -> Chat | None:
        """The chat, or None."""
        ...

    async def get_many(self, chats: Sequence[str]) -> dict[str, Chat]:
        """Those that exist."""
        ...

    async def touch(self, heads: Mapping[str, tuple[Head, datetime]]) -> None:
        """Raise the cached `last_*` of chats."""
        ...

    async def member(self, chat: str, user: str) -> Member | None:
        """The membership, also one that has ended (`left_at`); None if there never was one."""
        ...

    async def members(self, chat: str, *, after: str = "", limit: int | None = None) -> list[Member]:
        """Present members by user id, from behind `after`."""
        ...

    async def memberships(self, user: str) -> list[Member]:
        """The present memberships of one user."""
        ...

    async def memberships_among(self, pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Those of the (chat, user) pairs that are present memberships: the broker's sweep, in one query."""
        ...

    async def share_chat(self, one: str, other: str) -> bool:
        """Whether two users are present in one chat."""
        ...

    async def add_member(self, member: Member) -> bool:
        """Add a member, or bring back one who left (watermarks kept). False if already present."""
        ...

    async def remove_member(self, chat: str, user: str, at: datetime) -> bool:
        """End a membership. False if there was no present one."""
        ...

    async def raise_watermarks(self, moves: Sequence[Watermarks]) -> None:
        """Raise watermarks (`$max`), majority; rows of members who are not there are ignored."""
        ...


class ReceiptStore(Protocol):
    """The log of watermark moves, from which `delivered_at` and `seen_at` of a message follow."""

    async def append(self, receipts: Sequence[Receipt]) -> None:
        """Add rows."""
        ...

    async def reached(self, chat: str, first: int, last: int) -> list[Receipt]:
        """For each (user, kind) the rows with `first <= seq <= last` and the first row behind `last`, by `seq`."""
        ...


class UserStore(Protocol):
    """People."""

    async def add(self, user: User) -> bool:
        """False if the handle is taken."""
        ...

    async def get(self, user: str) -> User | None:
        """The user, or None."""
        ...

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are users who are not disabled."""
        ...


class DeviceStore(Protocol):
    """Things."""

    async def add(self, device: Device) -> bool:
        """False if the id is taken."""
        ...

    async def get(self, device: str) -> Device | None:
        """The device, or None."""
        ...

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are devices which are not disabled."""
        ...

    async def owned_by(self, owner: str) -> list[Device]:
        """The devices of one user."""
        ...


class GrantStore(Protocol):
    """Sign-ins."""

    async def add(self, grant: Grant) -> None:
        """Store a new sign-in."""
        ...

    async def by_token(self, token_hash: str) -> Grant | None:
        """The grant that has, or had, this refresh token (SHA-256, hex)."""
        ...

    async def rotate(self, sid: str, *, spent: str, fresh: str, expires_at: datetime) -> bool:
        """Make `fresh` the valid token if `spent` is the valid one now and the grant is not revoked; else False."""
        ...

    async def revoke(self, sid: str, at: datetime) -> None:
        """End a sign-in."""
        ...

    async def alive(self, sids: Sequence[str]) -> set[str]:
        """Those that are neither revoked nor expired: the broker's sweep, in one query."""
        ...


class PushTokenStore(Protocol):
    """Where pushes go."""

    async def put(self, token: PushToken) -> None:
        """Add or move a token: it belongs to the last user who brought it."""
        ...

    async def of_users(self, users: Sequence[str]) -> dict[str, list[PushToken]]:
        """Tokens per user."""
        ...

    async def drop(self, token: str) -> None:
        """Forget a token."""
        ...


MAX_LETTER_HISTORY = 100
"""Lines of a dead letter's history that are kept."""


class DeadLetterStore(Protocol):
    """Messages that could not be processed (P9)."""

    async def add(self, letter: DeadLetter) -> None:
        """Park one, and note that in its history; the same id again replaces all but the history."""
        ...

    async def get(self, letter_id: str) -> DeadLetter | None:
        """One letter."""
        ...

    async def note(self, letter_id: str, event: LetterEvent) -> bool:
        """Add to a letter's history (its newest `MAX_LETTER_HISTORY` lines are kept); False when there is no such letter."""
        ...

    async def drop(self, letter_id: str) -> bool:
        """Remove a letter; False when there is no such letter."""
        ...

    async def page(self, *, after: str = "", limit: int = 50) -> list[DeadLetter]:
        """Letters by id."""
        ...


class Presence(Protocol):
    """Who is connected, as far as known. It may be lost: then everybody looks away, and pushes are sent that were not needed."""

    async def replace(self, broker: str, online: Mapping[str, int]) -> None:
        """A broker (re)starts or repairs its table: everybody it holds, with their number of connections."""
        ...

    async def update(self, broker: str, changes: Mapping[str, int]) -> None:
        """Principals whose number of connections changed; 0 means gone."""
        ...

    async def heartbeat(self, broker: str) -> bool:
        """The broker's table is valid for another 30 s. False: it is not whole (Valkey was emptied, beats were missed): `replace` it."""
        ...

    async def online(self, users: Sequence[str]) -> set[str]:
        """Those who are connected to any broker that still beats."""
        ...


class Invalidations(Protocol):
    """Cut cached decisions at once, in every process."""

    async def publish(self, message: Invalidation) -> None:
        """Tell everybody. Losing it is allowed: caches have their own sweep."""
        ...

    def listen(self) -> AsyncIterator[Invalidation | None]:
        """Messages as they come; None whenever some may have been missed (connected, reconnected): check everything."""
        ...


class RateLimiter(Protocol):
    """Token buckets shared by processes."""

    async def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> float:
        """Take from the bucket `key` (refilled at `rate` per second up to `burst`); 0.0 if granted, else seconds to wait."""
        ...


class JobQueue(Protocol):
    """Background work. Losing a job is allowed: sweepers find what was not done."""

    async def enqueue(self, name: str, *args: str, queue: str) -> None:
        """Send a job by name (`chat.jobs`) with ids as arguments."""
        ...


@dataclass(frozen=True, slots=True)
class Push:
    """One notification for one installation."""

    token: PushToken
    title: str
    text: str | None
    data: Mapping[str, str]
    collapse_key: str


class PushSender(Protocol):
    """Hands one push to its provider. Synchronous: workers call it from a process of their own."""

    def send(self, push: Push) -> None:
        """Deliver to the provider.

        Raises:
            PushTokenDead, PushRejected, PushRetry: see `chat.pushes`.
        """
        ...


@dataclass(slots=True)
class Delivery:
    """A message that came in on a link and waits to be settled.

    Attributes:
        properties: MQTT 5 user properties, last one wins.
        settle: answer the broker's publish: `settle(reason_code, reason, code)`; with 0x00 the message is done, with a code of
            0x80 or above it is refused and the publisher is told `code` and `reason`. A QoS 0 delivery ignores it.
    """

    topic: str
    payload: bytes
    qos: int
    settle: Callable[[int, str | None, str | None], None]
    content_type: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """The broker's answer to a publish; `code` and `reason` come from whoever refused it."""

    reason_code: int
    reason: str | None = None
    code: str | None = None


class Link(Protocol):
    """A service's connection to the broker: MQTT 5, QoS 1, settled by hand, reconnecting by itself."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Awaitable[Published]:
        """Send one message; the answer comes with the broker's PUBACK (at once for QoS 0).

        Raises:
            Unavailable: the connection is down, or went down before the answer (the message may have been taken).
        """
        ...

    async def run(self, filters: Sequence[str], receive: Callable[[list[Delivery]], None]) -> None:
        """Stay connected, subscribe to `filters`, and hand over what arrives, one list per read, until cancelled."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the link is up now."""
        ...


class Authenticator(Protocol):
    """Tells who a connection is. Behind it: tokens, device secrets, service secrets, client certificates."""

    async def welcome(self, ids: Collection[str]) -> set[str]:
        """Those principals who are still let in at all: they exist and are not disabled. One query per kind.

        Raises:
            Unavailable: it can't be found out now.
        """
        ...

    async def certified(self, name: str, password: bytes | None) -> Principal:
        """The principal that a verified client certificate names: a device or service by that alone, a user with the
        access token of a sign-in as well.

        Raises:
            Unauthenticated: it names nobody, somebody who is disabled, or a user without a token.
            Unavailable: it can't be found out now (which denies as well).
        """
        ...

    async def authenticate(self, username: str | None, password: bytes | None) -> Principal:
        """The principal that the credentials prove.

        Raises:
            Unauthenticated: they prove nothing.
            Unavailable: it can't be found out now (which denies as well).
        """
        ...
