"""Devices: things that publish, with a secret of their own, owned by a user."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from api import creation
from api.clock import now
from api.devices.schemas import DeviceCredentials, DeviceList, NewDevice, view
from chat.errors import Conflict, InvalidId
from chat.ids import DEVICE_PREFIX, is_device, is_principal
from chat.models import Device, Principal
from chat.ports import DeviceStore


@dataclass(frozen=True, slots=True)
class DeviceService:
    """The decisions of `/v1/devices`."""

    devices: DeviceStore
    max_devices: int

    async def add(self, wish: NewDevice, *, caller: Principal) -> DeviceCredentials:
        """Register a device.

        Raises:
            InvalidId: the id has the wrong shape.
            Conflict: `id_taken`, `too_many_devices`.
        """
        id_ = wish.id if wish.id is not None else DEVICE_PREFIX + creation.chosen("device", 8).hex()
        if not is_principal(id_) or not is_device(id_) or id_ == DEVICE_PREFIX:
            raise InvalidId(f"a device id is '{DEVICE_PREFIX}' and up to 60 of a-z, 0-9, '.', '_' and '-'")
        owned = await self.devices.owned_by(caller.id)
        again = creation.resumed() and any(device.id == id_ for device in owned)  # `_made_before` decides
        if len(owned) >= self.max_devices and not again:
            raise Conflict(f"a user has at most {self.max_devices} devices", code="too_many_devices")
        secret = creation.secret("device secret")
        device = Device(
            id=id_,
            owner=caller.id,
            name=wish.name,
            secret_hash=hashlib.sha256(secret.encode()).hexdigest(),
            created_at=now(),
        )
        made = device if await self.devices.add(device) else await self._made_before(device)
        if made is None:
            raise Conflict("this device id is taken", code="id_taken")
        return DeviceCredentials(id=id_, name=made.name, created_at=made.created_at, secret=secret)

    async def _made_before(self, device: Device) -> Device | None:
        """What an attempt that was killed has registered: only that one had this secret."""
        found = await self.devices.get(device.id) if creation.resumed() else None
        mine = found is not None and (found.owner, found.secret_hash) == (device.owner, device.secret_hash)
        return found if mine else None

    async def owned(self, *, caller: Principal) -> DeviceList:
        """The caller's devices."""
        found = await self.devices.owned_by(caller.id)
        return DeviceList(items=[view(device) for device in found])
