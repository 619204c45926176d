"""`UserStore` and `DeviceStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
from chat.models import Device, User


class MemoryUsers:
    """Users by handle."""

    def __init__(self) -> None:
        self._users: dict[str, User] = {}

    async def add(self, user: User) -> bool:
        """See `UserStore.add`."""
        if user.id in self._users or (user.identity and await self.by_identity(user.identity)):
            return False
        self._users[user.id] = copied(user)
        return True

    async def get(self, user: str) -> User | None:
        """See `UserStore.get`."""
        return copied(self._users[user]) if user in self._users else None

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """See `UserStore.existing`."""
        return {id_ for id_ in ids if id_ in self._users and not self._users[id_].disabled}

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


class MemoryDevices:
    """Devices by id."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}

    async def add(self, device: Device) -> bool:
        """See `DeviceStore.add`."""
        if device.id in self._devices:
            return False
        self._devices[device.id] = copied(device)
        return True

    async def get(self, device: str) -> Device | None:
        """See `DeviceStore.get`."""
        return copied(self._devices[device]) if device in self._devices else None

    async def existing(self, ids: Sequence[str]) -> set[str]:
        """See `DeviceStore.existing`."""
        return {id_ for id_ in ids if id_ in self._devices and not self._devices[id_].disabled}

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
