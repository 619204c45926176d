"""`/v1/devices`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep, requires
from api.devices.credentials import DeviceCredentialService
from api.devices.schemas import (
    CertificateRequest,
    DeviceCertificate,
    DeviceChange,
    DeviceCredentials,
    DeviceList,
    DeviceView,
    NewDevice,
)
from api.devices.service import DeviceService
from api.errors import problems
from api.trail import CallerTrail, HolderTrail
from chat.models import Principal
from chat.permissions import Scope

router = APIRouter(tags=["devices"])


async def _service(parts: PartsDep) -> DeviceService:
    return DeviceService(devices=parts.stores.devices, max_devices=parts.settings.api_max_devices)


async def _credentials(parts: PartsDep) -> DeviceCredentialService:
    return DeviceCredentialService(
        devices=parts.stores.devices, invalidations=parts.invalidations, authority=parts.authority
    )


Service = Annotated[DeviceService, Depends(_service)]
Credentials = Annotated[DeviceCredentialService, Depends(_credentials)]
OwnerOrDevice = Annotated[Principal, Depends(requires(Scope.USER, Scope.DEVICE))]
DeviceId = Annotated[str, Path(max_length=64, examples=["dev-livingroom"])]
_ONE = "/v1/devices/{device}"


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


@router.get(
    _ONE,
    summary="One of my devices",
    responses={**returns(DeviceView, "The device, without its secret"), **problems(401, 403, 404)},
)
async def device(device: DeviceId, caller: OwnerOrDevice, service: Credentials) -> Response:
    """For its owner and for the device itself. Code: `unknown_device`, also for other people's."""
    return answer(await service.get(device, caller=caller))


@router.patch(
    _ONE,
    summary="Rename a device, or keep it out",
    responses={**returns(DeviceView, "The device as it is now"), **problems(401, 403, 404, 413)},
)
async def change(
    device: DeviceId, wish: DeviceChange, caller: Caller, service: Credentials, trail: CallerTrail
) -> Response:
    """One that is disabled is cut at once; neither secret nor certificate lets it in. Code: `unknown_device`."""
    return answer(await service.change(device, wish, caller=caller, trail=trail))


@router.post(
    _ONE + "/secret",
    summary="Give a device another secret",
    responses={**returns(DeviceCredentials, "The device with its new secret"), **problems(401, 403, 404)},
)
async def new_secret(device: DeviceId, caller: OwnerOrDevice, service: Credentials, trail: HolderTrail) -> Response:
    """The old one ends, with its connections and tokens; certificates stay. Shown once. Code: `unknown_device`."""
    return answer(await service.new_secret(device, caller=caller, trail=trail))


@router.post(
    _ONE + "/certificates",
    status_code=201,
    summary="Enrol a device for a client certificate",
    responses={
        **returns(DeviceCertificate, "The certificate, and who signed it", status=201),
        **problems(401, 403, 404, 413),
    },
)
async def certify(
    device: DeviceId, wish: CertificateRequest, caller: OwnerOrDevice, service: Credentials, trail: HolderTrail
) -> Response:
    """On a key that never leaves the device, which may renew its certificate itself with a token of its own
    (`grant_type=client_credentials`). Codes: `invalid_csr`, `unknown_device`, `device_disabled`, `no_authority`.
    """
    return answer(await service.certify(device, wish, caller=caller, trail=trail), status=201)
