"""Devices: found and shown, without their secrets."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import asdict

from api.admin.devices.schemas import AdminDevice, AdminDevicePage, AdminDevicesQuery
from api.pagination import pack, unpack
from chat.admin import AdminStore, DeviceRow, DeviceSearch
from chat.errors import NotFound
from chat.ids import is_device, is_principal
from chat.ports import DeviceStore


@dataclass(frozen=True, slots=True)
class DeviceAdmin:
    """The decisions of `/v1/admin/devices`."""

    admin: AdminStore
    devices: DeviceStore

    async def page(self, query: AdminDevicesQuery) -> AdminDevicePage:
        """One page, by id.

        Raises:
            BadInput: `invalid_cursor`.
        """
        after = unpack(query.cursor, 1)[0] if query.cursor else ""
        found = await self.admin.devices(DeviceSearch(query.text, query.owner), after=after, limit=query.limit + 1)
        items = [_view(row) for row in found[: query.limit]]
        return AdminDevicePage(items=items, next=pack(items[-1].id) if len(found) > query.limit else None)

    async def show(self, device: str) -> AdminDevice:
        """One device.

        Raises:
            NotFound: `unknown_device`.
        """
        found = await self.devices.get(device) if is_principal(device) and is_device(device) else None
        if found is None:
            raise NotFound("there is no such device", code="unknown_device")
        return AdminDevice(found.id, found.owner, found.name, found.created_at, found.disabled)


def _view(row: DeviceRow) -> AdminDevice:
    return AdminDevice(**asdict(row))
