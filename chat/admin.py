"""What administrators and moderators see and do: accounts, chats and devices as records, and the store behind them.

The records hold no credentials: nothing that is shown to an administrator lets them sign in as somebody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from chat.models import Chat, ChatKind


class ExclusionKind(StrEnum):
    """Why somebody may do nothing now."""

    SUSPENDED = "suspended"
    """By a moderator or an administrator, for a while or until further notice."""
    BANNED = "banned"
    """By an administrator; a moderator can't lift it."""


class Exclusion(msgspec.Struct, frozen=True):
    """What keeps somebody out, with all of their devices.

    Attributes:
        until: it ends by itself at that time; None: when it is lifted.
    """

    kind: ExclusionKind
    at: datetime
    by: str
    reason: str
    until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it keeps them out at that time."""
        return self.until is None or now < self.until


class AccountState(StrEnum):
    """What somebody is now."""

    ACTIVE = "active"
    DISABLED = "disabled"
    SUSPENDED = "suspended"
    BANNED = "banned"


class Account(msgspec.Struct):
    """A user, as administrators see them.

    Attributes:
        disabled: switched off for good, whatever `block` says.
        block: the newest one, also when it is over.
        shadowed: what they send is stored and shown to nobody but themselves.
    """

    id: str
    display_name: str
    created_at: datetime
    admin: bool = False
    moderator: bool = False
    disabled: bool = False
    block: Exclusion | None = None
    shadowed: bool = False

    def state(self, now: datetime) -> AccountState:
        """What they are at that time."""
        if self.disabled:
            return AccountState.DISABLED
        if self.block is not None and self.block.holds(now):
            return AccountState(self.block.kind.value)
        return AccountState.ACTIVE


class AccountSearch(msgspec.Struct, frozen=True):
    """Which users: all that is given must hold.

    Attributes:
        text: the handle begins with it, or the display name holds it, in either Unicode form, whatever the case.
    """

    text: str | None = None
    state: AccountState | None = None
    staff: bool | None = None
    shadowed: bool | None = None


class ChatSearch(msgspec.Struct, frozen=True):
    """Which chats; `text`: the id begins with it, or the title holds it. `member`: that user or device is in it now."""

    text: str | None = None
    kind: ChatKind | None = None
    member: str | None = None


class DeviceRow(msgspec.Struct):
    """A device, as administrators see it. `disabled`: by itself, or because its owner is kept out."""

    id: str
    owner: str
    name: str
    created_at: datetime
    disabled: bool


class DeviceSearch(msgspec.Struct, frozen=True):
    """Which devices; `text`: the id begins with it, or the name holds it."""

    text: str | None = None
    owner: str | None = None


class AdminStore(Protocol):
    """What administration reads and changes beyond the stores of `chat.ports`. Lists are by id, from behind `after`."""

    async def account(self, user: str) -> Account | None:
        """One user."""
        ...

    async def accounts(self, search: AccountSearch, *, after: str = "", limit: int) -> list[Account]:
        """Users that are wanted."""
        ...

    async def population(self) -> int:
        """How many users there are, about."""
        ...

    async def block(self, user: str, block: Exclusion | None) -> bool:
        """Keep somebody and their devices out, or let them in again: one write. False if there is no such user."""
        ...

    async def kept_out(self, ids: Sequence[str]) -> set[str]:
        """Those of the ids that are users who may do nothing now."""
        ...

    async def set_shadowed(self, user: str, *, shadowed: bool) -> bool:
        """Shadow-ban, or end it. False if there is no such user."""
        ...

    async def shadowed(self) -> set[str]:
        """Everybody who is shadow-banned."""
        ...

    async def set_rank(self, user: str, *, admin: bool, moderator: bool) -> bool:
        """Make somebody an administrator or moderator, or neither. False if there is no such user."""
        ...

    async def chats(self, search: ChatSearch, *, after: str = "", limit: int) -> list[Chat]:
        """Chats that are wanted."""
        ...

    async def members(self, chat: str) -> int:
        """How many are in a chat now."""
        ...

    async def devices(self, search: DeviceSearch, *, after: str = "", limit: int) -> list[DeviceRow]:
        """Devices that are wanted."""
        ...


class LiveConnection(msgspec.Struct):
    """A session at the broker. What only a connection has is null while its client is away.

    Attributes:
        address: of the client.
        keep_alive: seconds. So is `session_expiry`: how long it is kept after the connection; null for ever.
        inflight, queued: messages on their way to it, and waiting for it.
    """

    client_id: str
    principal: str
    connected: bool
    version: str
    address: str | None
    connected_at: str | None
    keep_alive: int | None
    session_expiry: float | None
    subscriptions: int
    inflight: int
    queued: int


class LiveConnectionDetail(LiveConnection):
    """A session with its bounds and subscriptions."""

    queue_limit: int
    window: int
    filters: list[str]


class Connections(Protocol):
    """The broker's connections.

    Every method raises `Unavailable` when the broker does not answer, or this process was not told where it is.
    """

    async def page(
        self, *, prefix: str, state: str, cursor: str | None, limit: int
    ) -> tuple[list[LiveConnection], str | None]:
        """Sessions by client id, and where the next page begins.

        Args:
            state: `connected`, `away` or `all`.
        """
        ...

    async def get(self, client: str) -> LiveConnectionDetail | None:
        """One session; None when there is none of that client id."""
        ...

    async def disconnect(self, client: str, *, drop_session: bool) -> tuple[bool, bool] | None:
        """Cut it: whether it was connected, and whether its session is still there. None when there is none."""
        ...


class Processes(Protocol):
    """The other processes, as they tell of themselves. A process that does not answer is None."""

    async def health(self) -> dict[str, dict[str, bool] | None]:
        """The parts of each process, by name, and whether they are well."""
        ...

    async def settings(self) -> dict[str, dict[str, str] | None]:
        """The settings that each process goes by, without secrets."""
        ...
