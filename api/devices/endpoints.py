"""`/v1/devices`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.devices.schemas import DeviceCredentials, DeviceList, NewDevice
from api.devices.service import DeviceService
from api.errors import problems

router = APIRouter(tags=["devices"])


def _service(parts: PartsDep) -> DeviceService:
    return DeviceService(devices=parts.stores.devices, max_devices=parts.settings.api_max_devices)


Service = Annotated[DeviceService, Depends(_service)]


@router.post(
    "/v1/devices",
    status_code=201,
    summary="Register a device",
    responses={
        **returns(DeviceCredentials, "The new device with its secret", status=201),
        **problems(401, 409, 413),
    },
)
async def add(wish: NewDevice, caller: Caller, service: Service) -> Response:
    """The secret is shown once and not kept. Codes: `invalid_id`, `id_taken`, `too_many_devices`."""
    return answer(await service.add(wish, caller=caller), status=201)


@router.get(
    "/v1/devices",
    summary="My devices",
    responses={**returns(DeviceList, "Devices by id"), **problems(401)},
)
async def devices(caller: Caller, service: Service) -> Response:
    """Without their secrets."""
    return answer(await service.owned(caller=caller))
