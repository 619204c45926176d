"""What is stored, as the processes see it: plain records without behaviour. `adapters/mongo/` gives their documents.

Times are UTC datetimes with millisecond precision (what Mongo keeps).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from chat.events import System


class Role(StrEnum):
    """What a member may do in a chat; the order of rights is in `chat.permissions`."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    READER = "reader"


class PrincipalKind(StrEnum):
    """Who is behind a connection or a request."""

    USER = "user"
    DEVICE = "device"
    SERVICE = "service"
    """One of our own processes: it may do everything on the broker."""
    ACCOUNT = "account"
    """A program of somebody else's that an administrator has let in, over REST only, with the scopes that they gave it."""


class Circle(StrEnum):
    """Whom a user lets come near."""

    EVERYONE = "everyone"
    CONTACTS = "contacts"


class Principal(msgspec.Struct, frozen=True):
    """An authenticated somebody.

    Attributes:
        id: handle, device id or service name.
        sid: the grant (sign-in) behind a user's token; None for devices and services.
        admin: may use the administration routes.
        owner: of a device: the user who registered it.
        granted: of a service account: the scopes in its token.
    """

    id: str
    kind: PrincipalKind
    sid: str | None = None
    admin: bool = False
    owner: str | None = None
    granted: frozenset[str] = frozenset()


class User(msgspec.Struct):
    """A person. `password_hash` is argon2id.

    Attributes:
        hides_seen: neither shows to others what they have seen, nor sees it of them.
        about: a few words about themselves.
        avatar: where their picture is, an address.
        profile_for: who sees `about` and `avatar`.
        reachable_by: who may open a direct chat with them, or bring them into a group.
        identity: of who signs in at an OpenID provider, SHA-256 of issuer and subject; their `password_hash` is empty.
    """

    id: str
    display_name: str
    password_hash: str
    created_at: datetime
    admin: bool = False
    disabled: bool = False
    hides_seen: bool = False
    about: str = ""
    avatar: str | None = None
    profile_for: Circle = Circle.EVERYONE
    reachable_by: Circle = Circle.EVERYONE
    identity: str | None = None


class Device(msgspec.Struct):
    """A thing that publishes. `secret_hash` is SHA-256 of a 256-bit random secret (nothing to guess, so nothing to stretch)."""

    id: str
    owner: str
    name: str
    secret_hash: str
    created_at: datetime
    disabled: bool = False


class ServiceAccount(msgspec.Struct):
    """A program that an administrator has let in. `secret_hash` as a device's.

    Attributes:
        id: `svc-…`, its client id; never that of one of our own processes.
        scopes: what its tokens may carry (`chat.permissions.Scope`).
    """

    id: str
    name: str
    scopes: list[str]
    secret_hash: str
    created_at: datetime
    created_by: str


class SecondFactor(msgspec.Struct):
    """What somebody has beside their password.

    Attributes:
        sealed: the TOTP secret, which only the api can open.
        confirmed: whether they have shown a code of it; before that it is asked of nobody.
        step: the last time step that was used; codes of it and before are refused.
        recovery: SHA-256 of the recovery codes that are left.
    """

    user: str
    sealed: str
    created_at: datetime
    confirmed: bool = False
    step: int = 0
    recovery: list[str] = []


SPENT_TOKENS_KEPT = 20
"""How many spent refresh tokens a grant remembers: five hours of 15-minute rotations, within which reuse is recognised."""


class Grant(msgspec.Struct):
    """A sign-in: a family of refresh tokens, of which only the newest is valid.

    Attributes:
        sid: the family's id, claim `sid` of its access tokens.
        current: SHA-256 of the refresh token that is valid now.
        previous: SHA-256 values of the spent ones (the newest `SPENT_TOKENS_KEPT`): showing one again revokes the family.
        via: how they signed in: `password`, or `oidc:` and the provider's name.
        client: what the program called itself (User-Agent), for people who look at their sign-ins.
        address: from where it was last refreshed.
        used_at: when it was made or last refreshed.
    """

    sid: str
    user: str
    current: str
    created_at: datetime
    expires_at: datetime
    previous: list[str] = []
    revoked_at: datetime | None = None
    via: str = "password"
    client: str = ""
    address: str = ""
    used_at: datetime | None = None


class ChatKind(StrEnum):
    """How many may be in it, and who may write."""

    DIRECT = "direct"
    GROUP = "group"
    CHANNEL = "channel"


class Chat(msgspec.Struct):
    """A chat. `last_*` are a cache of the newest event and may be behind it; the events themselves are the truth.

    Attributes:
        retention_days: for so long what is said in it is kept; None: as everywhere.
    """

    id: str
    kind: ChatKind
    created_at: datetime
    created_by: str
    title: str | None = None
    last_seq: int = 0
    last_n: int = 0
    last_at: datetime | None = None
    retention_days: int | None = None


class Member(msgspec.Struct):
    """One membership with its watermarks. A member who left keeps the row, with `left_at` set.

    Attributes:
        hides_seen: as the user wishes; kept here too, where it is asked for with every receipt.
        pinned_at: since when it stands at the top of their list of chats.
        archived_at: since when they have put it away.
        removed_by: of one who left: who took them out; None when they went by themselves.
        cleared_seq: what is stored up to it is not shown to them.
    """

    chat: str
    user: str
    role: Role
    joined_at: datetime
    joined_seq: int = 0
    left_at: datetime | None = None
    delivered_seq: int = 0
    seen_seq: int = 0
    seen_n: int = 0
    muted_until: datetime | None = None
    hides_seen: bool = False
    pinned_at: datetime | None = None
    archived_at: datetime | None = None
    removed_by: str | None = None
    cleared_seq: int = 0


class Receipt(msgspec.Struct):
    """One move of a watermark: at `at`, `user` (or `EVERYBODY`) had delivered or seen everything of `chat` up to `seq`."""

    chat: str
    user: str
    kind: str  # "delivered" | "seen"
    seq: int
    at: datetime


EVERYBODY = "*"
"""In place of a user, in a `Receipt`: everybody who counts for what it is about. (No handle is a star.)"""


class Reach(msgspec.Struct, frozen=True):
    """How far the people of a chat are with one of its events.

    Attributes:
        delivered: how many of those who count for the event have received it.
        seen: how many show that they have seen it.
        all_delivered: up to this `seq`, which is the event's at most, everything has been received by everybody who counts for it.
        all_seen: the same of what was seen, whether they show it or not.
    """

    delivered: int = 0
    seen: int = 0
    all_delivered: int = 0
    all_seen: int = 0


class Head(msgspec.Struct, frozen=True):
    """The newest stored `seq` and `n` of a chat; (0, 0) for an empty one."""

    seq: int = 0
    n: int = 0


class Slot(msgspec.Struct, frozen=True):
    """One stored `seq` of a chat: how many messages the chat held with it, whose it is, and whether it is one of the messages."""

    n: int
    sender: str
    counts: bool = True


class Subscription(msgspec.Struct, frozen=True):
    """Where a browser is reached by Web Push (RFC 8030), and the keys that only it can read with (RFC 8291).

    Attributes:
        endpoint: an address of the browser's push service; whoever knows it and is believed (VAPID) may push there.
        p256dh: the browser's public key, uncompressed point, base64url.
        auth: 16 bytes that browser and server share, base64url.
        key: the server's public key (VAPID) that the browser was given when it subscribed, base64url: no other may push there.
    """

    endpoint: str
    p256dh: str
    auth: str
    key: str


class PushToken(msgspec.Struct):
    """Where one installation of a user is reached.

    Attributes:
        token: FCM's registration id; of a browser's own subscription (`webpush`) a hash of its endpoint.
        platform: `android`, `ios`, `web` (all by FCM), `webpush`.
        data_only: the app makes its notifications itself: it is sent data, and nothing that the system would show.
        subscription: of `webpush`.
        held_until: the provider wants nothing for it before.
        failures: tries in a row that were told to come again.
    """

    token: str
    user: str
    platform: str
    updated_at: datetime
    data_only: bool = False
    subscription: Subscription | None = None
    held_until: datetime | None = None
    failures: int = 0


class LetterEvent(msgspec.Struct):
    """One line in the history of a dead letter.

    Attributes:
        what: `parked`, `replayed`, `refused`.
        detail: the reason of `parked`, the code of `refused`.
        by: the administrator, or the process.
    """

    at: datetime
    what: str
    detail: str = ""
    by: str = ""


class DeadLetter(msgspec.Struct):
    """A message or a background job that could not be processed, kept with everything needed to send it again.

    Attributes:
        topic: where a message came in; of a push the chat's topic, of another job nothing.
        payload: as it came in; of a job what is known of it as JSON.
        tries: before it was parked the last time.
        history: what was done with it, oldest first; the store writes it.
    """

    id: str
    topic: str
    payload: bytes
    reason: str
    tries: int
    at: datetime
    properties: dict[str, str] = {}
    content_type: str | None = None
    history: list[LetterEvent] = []
    kind: str = "message"  # "message" | "push" | "job"
    job: str | None = None
    """The name of the job (`chat.jobs`) that a replay sends; None when it is no job, or one that can't be sent again."""
    args: list[str] = []
    """Its arguments: ids."""


class Notice(msgspec.Struct):
    """A system event that its chat has not been told yet: stored with the change that it tells of, dropped once it is told.

    Attributes:
        id: of the event, a message id: telling it twice is telling it once (P4).
        at: of the last change that it tells of.
        open: whoever makes it may still add users to it.
    """

    id: str
    chat: str
    system: System
    at: datetime
    open: bool = False


class Watermarks(msgspec.Struct):
    """A wish to raise one member's watermarks; applied with `$max`, so it never lowers them."""

    chat: str
    user: str
    delivered_seq: int
    seen_seq: int
    seen_n: int
