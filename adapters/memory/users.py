"""`UserStore` and `DeviceStore` in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from msgspec import convert, to_builtins

from adapters.memory.records import copied
from chat.admin import Exclusion
from chat.models import Device, User


class MemoryUsers:
    """Users by handle.

    Attributes:
        rows: as they were added.
        blocks: who is, or was, kept out by administrators.
    """

    def __init__(self) -> None:
        self._users: dict[str, User] = {}
        self.rows = self._users
        self.blocks: dict[str, Exclusion] = {}

    def out(self, user: str) -> bool:
        """Whether somebody who is there may do nothing now."""
        found, block = self._users.get(user), self.blocks.get(user)
        return (found is not None and found.disabled) or (block is not None and block.holds(datetime.now(UTC)))

    async def add(self, user: User) -> bool:
        """See `UserStore.add`."""
        if user.id in self._users or (user.identity and await self.by_identity(user.identity)):
            return False
        self._users[user.id] = copied(user)
        return True

    async def get(self, user: str) -> User | None:
        """See `UserStore.get`."""
        if user not in self._users:
            return None
        found = copied(self._users[user])
        found.disabled = self.out(user)
        return found

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """See `UserStore.existing`."""
        return {id_ for id_ in ids if id_ in self._users and not self.out(id_)}

    async def set_hides_seen(self, user: str, *, hides: bool) -> bool:
        """See `UserStore.set_hides_seen`."""
        if user not in self._users:
            return False
        self._users[user].hides_seen = hides
        return True

    async def by_identity(self, identity: str) -> User | None:
        """See `UserStore.by_identity`."""
        return next((copied(user) for user in self._users.values() if user.identity == identity), None)

    async def set_password(self, user: str, *, was: str, now: str) -> bool:
        """See `UserStore.set_password`."""
        if user not in self._users or self._users[user].password_hash != was:
            return False
        self._users[user].password_hash = now
        return True

    async def hiding(self, ids: Sequence[str]) -> set[str]:
        """See `UserStore.hiding`."""
        return {id_ for id_ in ids if id_ in self._users and self._users[id_].hides_seen}

    async def get_many(self, ids: Sequence[str]) -> dict[str, User]:
        """See `UserStore.get_many`."""
        found = {id_: await self.get(id_) for id_ in ids}
        return {id_: user for id_, user in found.items() if user is not None}

    async def set_profile(self, user: str, changes: Mapping[str, str | None]) -> bool:
        """See `UserStore.set_profile`."""
        if user not in self._users:
            return False
        self._users[user] = convert({**to_builtins(self._users[user], builtin_types=(datetime,)), **changes}, User)
        return True


class MemoryDevices:
    """Devices by id.

    Args:
        users: their owners.

    Attributes:
        rows: as they were added.
    """

    def __init__(self, users: MemoryUsers | None = None) -> None:
        self._devices: dict[str, Device] = {}
        self._owners = users or MemoryUsers()
        self.rows = self._devices

    async def add(self, device: Device) -> bool:
        """See `DeviceStore.add`."""
        if device.id in self._devices:
            return False
        self._devices[device.id] = copied(device)
        return True

    async def get(self, device: str) -> Device | None:
        """See `DeviceStore.get`."""
        if device not in self._devices:
            return None
        found = copied(self._devices[device])
        found.disabled = self._out(device)
        return found

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """See `DeviceStore.existing`."""
        return {id_ for id_ in ids if id_ in self._devices and not self._out(id_)}

    def _out(self, device: str) -> bool:
        found = self._devices[device]
        return found.disabled or self._owners.out(found.owner)

    async def owned_by(self, owner: str) -> list[Device]:
        """See `DeviceStore.owned_by`; by id."""
        return [copied(device) for _, device in sorted(self._devices.items()) if device.owner == owner]

    async def set_secret(self, device: str, secret_hash: str) -> bool:
        """See `DeviceStore.set_secret`."""
        if device not in self._devices:
            return False
        self._devices[device].secret_hash = secret_hash
        return True

    async def update(self, device: str, *, name: str | None = None, disabled: bool | None = None) -> bool:
        """See `DeviceStore.update`."""
        found = self._devices.get(device)
        if found is None:
            return False
        found.name = found.name if name is None else name
        found.disabled = found.disabled if disabled is None else disabled
        return True
