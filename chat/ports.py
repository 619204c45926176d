"""Ports: what our processes need from the outside, as Protocols. `adapters/` has two of each: the real one and its
in-memory twin, and `tests/contract/` runs the same tests on both.

The stores are here, those of sign-ins and credentials in `chat.accounts`, the rest in `chat.services`; all of them can be imported from here.

Every method that touches the outside may raise `chat.errors.Unavailable` (transient; nothing or all of it happened).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from chat.accounts import GrantStore, SecondFactorStore, ServiceAccountStore
from chat.audit import Anchor, AuditEntry, AuditRecord, AuditSearch
from chat.envelopes import Event
from chat.history import AudienceStore, HistoryStore
from chat.models import (
    Chat,
    DeadLetter,
    Device,
    Head,
    LetterEvent,
    Member,
    Notice,
    PushToken,
    Reach,
    Receipt,
    Role,
    Slot,
    User,
    Watermarks,
)
from chat.pushes import PushMarkStore
from chat.services import (
    INGEST,
    MARK,
    Authenticator,
    Delivery,
    Invalidations,
    JobQueue,
    Link,
    Parcel,
    Presence,
    Published,
    Push,
    PushSender,
    RateLimiter,
)

__all__ = [
    "INGEST",
    "MARK",
    "Audit",
    "Authenticator",
    "ChatStore",
    "DeadLetterStore",
    "Delivery",
    "DeviceStore",
    "GrantStore",
    "Inserted",
    "Invalidations",
    "JobQueue",
    "Link",
    "MessageStore",
    "NoticeStore",
    "Parcel",
    "Presence",
    "Published",
    "Push",
    "PushSender",
    "PushTokenStore",
    "RateLimiter",
    "ReceiptStore",
    "SecondFactorStore",
    "ServiceAccountStore",
    "UserStore",
]


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


class MessageStore(HistoryStore, PushMarkStore, Protocol):
    """Stored events. The one place where P1, P3 and P4 are kept: unique id, unique (chat, seq), majority writes.
    Whoever calls `rewrite`, `hide` or `pin` has stored the event that says so before: copies of recent events rest on it (`chat.folding`).
    """

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
        """The newest event of type `message` per chat that is for everybody (for chat lists); chats without one are absent."""
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

    async def renumber(self, chat: str, ns: Mapping[int, int]) -> None:
        """Give stored slots another `n`, by `seq`."""
        ...

    async def rewrite(
        self, target: str, *, body: object | None, edited_at: datetime | None, deleted_at: datetime | None
    ) -> None:
        """Change what history shows of a message after an edit (new body) or a delete (no body)."""
        ...

    async def hide(self, target: str, user: str) -> None:
        """Note that `user` does not want to see a message any more; twice is as once."""
        ...

    async def pin(self, target: str, *, at: datetime, pinned: bool) -> None:
        """Pin or unpin a message. Repeated or late it is harmless: the newest `at` decides, and what is deleted is not pinned."""
        ...

    async def pinned(self, chat: str, limit: int) -> list[Event]:
        """The messages of a chat that are pinned, the last pinned first."""
        ...

    async def erase_expired(self, *, now: datetime, limit: int) -> int:
        """Erase for good the content of events whose `expires_at` has passed, oldest first; how many were erased.

        Reads show such an event as deleted from the moment it expires, whether erased or not. Its slot stays: `seq` is dense (P3).
        """
        ...


class ChatStore(AudienceStore, Protocol):
    """Chats and their members.

    Where a change takes `notice`, that is stored with it, both or neither, and only if something was changed.
    """

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

    async def rename(self, chat: str, title: str | None, *, notice: Notice | None = None) -> bool:
        """Give a chat another title. False if there is no such chat."""
        ...

    async def set_role(self, chat: str, user: str, role: Role, *, notice: Notice | None = None) -> bool:
        """Give a present member who is not the owner another role. False if there is none."""
        ...

    async def member(self, chat: str, user: str) -> Member | None:
        """The membership, also one that has ended (`left_at`); None if there never was one."""
        ...

    async def members(self, chat: str, *, after: str = "", limit: int | None = None) -> list[Member]:
        """Present members by user id, from behind `after`."""
        ...

    async def members_by_chat(self, chats: Sequence[str]) -> dict[str, list[Member]]:
        """The present members of many chats, by user id, in one query; chats without any are absent."""
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

    async def add_member(self, member: Member, *, notice: Notice | None = None) -> bool:
        """Add a member, or bring back one who left (watermarks kept). False if already present."""
        ...

    async def remove_member(self, chat: str, user: str, at: datetime, *, notice: Notice | None = None) -> bool:
        """End a membership. False if there was no present one."""
        ...

    async def set_hides_seen(self, user: str, *, hides: bool) -> list[str]:
        """Note in every membership of a user, also in ended ones, whether they hide what they have seen; the chats they are in now."""
        ...

    async def reached(self, chat: str, seq: int) -> Reach:
        """How far the present people who joined before `seq` are.

        Devices read nothing, and are not counted.
        """
        ...

    async def scan(self, *, after: tuple[str, str] = ("", ""), limit: int) -> list[Member]:
        """Every membership of every chat, also ended ones, by (chat, user), from behind `after`."""
        ...

    async def correct(self, was: Member, now: Member) -> bool:
        """Set watermarks and `hides_seen` of a membership to those of `now`, if they are still those of `was`; else False."""
        ...

    async def raise_watermarks(self, moves: Sequence[Watermarks]) -> None:
        """Raise watermarks (`$max`), majority. Who never was a member is ignored; who has just left is raised like the others: what
        they acknowledged, they had.
        """
        ...


class NoticeStore(Protocol):
    """System events that chats have not been told yet."""

    async def add(self, notice: Notice) -> None:
        """Store one. To one that is there already it adds its users, and the time becomes the later one's."""
        ...

    async def of_chat(self, chat: str, limit: int) -> list[Notice]:
        """Those of a chat, oldest first."""
        ...

    async def after(self, key: tuple[str, str], limit: int) -> list[Notice]:
        """Those of all chats behind a (chat, id), chat by chat, each chat's oldest first."""
        ...

    async def drop(self, notice: Notice) -> None:
        """It is told."""
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
        """False if the handle or the identity is taken."""
        ...

    async def get(self, user: str) -> User | None:
        """The user, or None."""
        ...

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are users who are not disabled."""
        ...

    async def set_hides_seen(self, user: str, *, hides: bool) -> bool:
        """Note whether a user hides what they have seen. False if there is no such user."""
        ...

    async def by_identity(self, identity: str) -> User | None:
        """The user who signs in with an identity of elsewhere. Two users never have one: `add` is False for the second."""
        ...

    async def set_password(self, user: str, *, was: str, now: str) -> bool:
        """Store another password hash, if `was` is the one that is stored; else False."""
        ...

    async def hiding(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that hide what they have seen."""
        ...

    async def get_many(self, ids: Sequence[str]) -> dict[str, User]:
        """Those of the ids that are users, also disabled ones."""
        ...

    async def set_profile(self, user: str, changes: Mapping[str, str | None]) -> bool:
        """Change `display_name`, `about`, `avatar`, `profile_for`, `reachable_by` (one write). False if there is no such user."""
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

    async def set_secret(self, device: str, secret_hash: str) -> bool:
        """Store another secret. False if there is no such device."""
        ...

    async def update(self, device: str, *, name: str | None = None, disabled: bool | None = None) -> bool:
        """Change what is not None. False if there is no such device."""
        ...


class PushTokenStore(Protocol):
    """Where pushes go."""

    async def put(self, token: PushToken) -> None:
        """Add or move a token: it belongs to the last user who brought it. What `hold` has said stays."""
        ...

    async def held(self, tokens: Sequence[str]) -> dict[str, datetime]:
        """Those of the tokens for which a time was named, and that time."""
        ...

    async def hold(self, token: str, *, until: datetime | None, failures: int) -> None:
        """Note that the provider wants nothing for a token before `until`, and how often in a row it has said so."""
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
    """Messages and jobs that could not be processed (P9)."""

    async def add(self, letter: DeadLetter) -> None:
        """Park one, and note that in its history; the same id again replaces all but the history."""
        ...

    async def get(self, letter_id: str) -> DeadLetter | None:
        """One letter."""
        ...

    async def among(self, letter_ids: Sequence[str]) -> set[str]:
        """Those of the ids that are letters."""
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

    async def counts(self) -> dict[str, int]:
        """How many there are of each kind (of very many, some); kinds without any are absent."""
        ...


class Audit(Protocol):
    """The audit log: written, read and verified; nothing in it is ever changed or removed."""

    async def record(self, entry: AuditEntry) -> AuditRecord:
        """Put an entry at the end of the chain, with write concern majority. Call it before the change that it tells of."""
        ...

    async def record_all(self, entries: Sequence[AuditEntry]) -> list[AuditRecord]:
        """The same for several, in their order: for what has happened already, and may come many at once. Records of others may stand between."""
        ...

    async def search(self, search: AuditSearch, *, before: int | None = None, limit: int = 50) -> list[AuditRecord]:
        """Records that are wanted, newest first, with a smaller `seq` than `before`."""
        ...

    async def after(self, seq: int, limit: int) -> list[AuditRecord]:
        """Records with a greater `seq`, rising."""
        ...

    async def head(self) -> Anchor:
        """The newest record as it is noted beside the chain; it may be behind the chain, and is never ahead of it."""
        ...
