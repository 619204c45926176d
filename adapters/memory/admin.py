"""`AdminStore` in memory, on the twins of the stores that it looks into."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from adapters.memory.chats import MemoryChats
from adapters.memory.records import copied
from adapters.memory.users import MemoryDevices, MemoryUsers
from adapters.searching import beginning, holding
from chat.admin import Account, AccountSearch, ChatSearch, DeviceRow, DeviceSearch, Exclusion
from chat.models import Chat

R = TypeVar("R", Account, Chat, DeviceRow)


class MemoryAdmin:
    """What is known of users beyond their records, and lists of everything."""

    def __init__(self, users: MemoryUsers, devices: MemoryDevices, chats: MemoryChats) -> None:
        self._users = users
        self._devices = devices
        self._chats = chats
        self._moderators: set[str] = set()
        self._shadowed: set[str] = set()

    async def account(self, user: str) -> Account | None:
        """See `AdminStore.account`."""
        found = self._users.rows.get(user)
        if found is None:
            return None
        return Account(
            id=found.id,
            display_name=found.display_name,
            created_at=found.created_at,
            admin=found.admin,
            moderator=user in self._moderators,
            disabled=found.disabled,
            block=self._users.blocks.get(user),
            shadowed=user in self._shadowed,
        )

    async def accounts(self, search: AccountSearch, *, after: str = "", limit: int) -> list[Account]:
        """See `AdminStore.accounts`."""
        now = datetime.now(UTC)
        every = [await self.account(user) for user in self._users.rows]
        wanted = (
            one
            for one in every
            if one is not None
            and (search.text is None or _named(one.id, one.display_name, search.text))
            and search.state in (None, one.state(now))
            and search.staff in (None, one.admin or one.moderator)
            and search.shadowed in (None, one.shadowed)
        )
        return _page(wanted, after, limit)

    async def population(self) -> int:
        """See `AdminStore.population`."""
        return len(self._users.rows)

    async def block(self, user: str, block: Exclusion | None) -> bool:
        """See `AdminStore.block`."""
        if user not in self._users.rows:
            return False
        if block is None:
            self._users.blocks.pop(user, None)
        else:
            self._users.blocks[user] = block
        return True

    async def kept_out(self, ids: Sequence[str]) -> set[str]:
        """See `AdminStore.kept_out`."""
        return {user for user in ids if self._users.out(user)}

    async def set_shadowed(self, user: str, *, shadowed: bool) -> bool:
        """See `AdminStore.set_shadowed`."""
        if user not in self._users.rows:
            return False
        (self._shadowed.add if shadowed else self._shadowed.discard)(user)
        return True

    async def shadowed(self) -> set[str]:
        """See `AdminStore.shadowed`."""
        return set(self._shadowed)

    async def set_rank(self, user: str, *, admin: bool, moderator: bool) -> bool:
        """See `AdminStore.set_rank`."""
        if user not in self._users.rows:
            return False
        self._users.rows[user].admin = admin
        (self._moderators.add if moderator else self._moderators.discard)(user)
        return True

    async def chats(self, search: ChatSearch, *, after: str = "", limit: int) -> list[Chat]:
        """See `AdminStore.chats`."""
        mine = None if search.member is None else {one.chat for one in await self._chats.memberships(search.member)}
        wanted = (
            copied(chat)
            for chat in self._chats.all.values()
            if (search.text is None or _named(chat.id, chat.title or "", search.text))
            and search.kind in (None, chat.kind)
            and (mine is None or chat.id in mine)
        )
        return _page(wanted, after, limit)

    async def members(self, chat: str) -> int:
        """See `AdminStore.members`."""
        return len(await self._chats.members(chat))

    async def devices(self, search: DeviceSearch, *, after: str = "", limit: int) -> list[DeviceRow]:
        """See `AdminStore.devices`."""
        found = [await self._devices.get(device) for device in self._devices.rows]
        wanted = (
            DeviceRow(id=one.id, owner=one.owner, name=one.name, created_at=one.created_at, disabled=one.disabled)
            for one in found
            if one is not None
            and (search.text is None or _named(one.id, one.name, search.text))
            and search.owner in (None, one.owner)
        )
        return _page(wanted, after, limit)


def _named(id_: str, name: str, text: str) -> bool:
    return bool(re.search(beginning(text), id_) or re.search(holding(text), name, re.IGNORECASE))


def _page(wanted: Iterable[R], after: str, limit: int) -> list[R]:
    return sorted((row for row in wanted if row.id > after), key=lambda row: row.id)[: max(0, limit)]
