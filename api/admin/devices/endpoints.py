"""`/v1/admin/devices`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import ModeratorLooks
from api.admin.devices.schemas import AdminDevice, AdminDevicePage, AdminDevicesQuery
from api.admin.devices.service import DeviceAdmin
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> DeviceAdmin:
    return DeviceAdmin(parts.stores.admin, parts.stores.devices)


Service = Annotated[DeviceAdmin, Depends(_service)]


@router.get(
    "/v1/admin/devices",
    summary="Find devices",
    responses={**returns(AdminDevicePage, "Devices by id"), **problems(401, 403)},
)
async def devices(query: Annotated[AdminDevicesQuery, Query()], _staff: ModeratorLooks, service: Service) -> Response:
    """For moderators. Codes: `admin_only`, `invalid_cursor`."""
    return answer(await service.page(query))


@router.get(
    "/v1/admin/devices/{device}",
    summary="A device, for administrators",
    responses={**returns(AdminDevice, "The device"), **problems(401, 403, 404)},
)
async def device(device: str, _staff: ModeratorLooks, service: Service) -> Response:
    """For moderators; never with its secret. Codes: `admin_only`, `unknown_device`."""
    return answer(await service.show(device))
