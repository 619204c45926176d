"""Credentials of devices: another secret, certificates, and the switch that ends them all."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import structlog

from adapters.authority import Authority
from api import creation
from api.devices.schemas import (
    CertificateRequest,
    DeviceCertificate,
    DeviceChange,
    DeviceCredentials,
    DeviceView,
    view,
)
from api.trail import Trail
from chat.envelopes import Invalidation
from chat.errors import Forbidden, NotFound, Unavailable
from chat.ids import is_device, is_principal
from chat.models import Device, Principal, PrincipalKind
from chat.ports import DeviceStore, Invalidations

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class DeviceCredentialService:
    """The decisions of `/v1/devices/{device}`: for its owner, and what is about its own credentials for the device too.

    Attributes:
        authority: who signs certificates; None when this installation has none.
    """

    devices: DeviceStore
    invalidations: Invalidations
    authority: Authority | None

    async def get(self, device: str, *, caller: Principal) -> DeviceView:
        """One device.

        Raises:
            NotFound: `unknown_device`, also for other people's.
        """
        return view(await self._own(device, caller))

    async def change(self, device: str, wish: DeviceChange, *, caller: Principal, trail: Trail) -> DeviceView:
        """Another name, or whether it may come in. One that is disabled is cut at once, and its tokens end.

        Raises:
            NotFound: `unknown_device`.
        """
        found = await self._own(device, caller)
        if wish.disabled is not None and wish.disabled is not found.disabled:
            await trail.record("device.disabled" if wish.disabled else "device.enabled", target=device)
        await self.devices.update(device, name=wish.name, disabled=wish.disabled)
        if wish.disabled:
            _log.info("device.disabled", device=device, by=caller.id)
            await self._cut(device)
        return view(await self._own(device, caller))

    async def new_secret(self, device: str, *, caller: Principal, trail: Trail) -> DeviceCredentials:
        """Another secret; what came in with the old one is cut at once.

        Raises:
            NotFound: `unknown_device`.
        """
        found = await self._own(device, caller)
        secret = creation.secret("device secret")
        await trail.record("device.secret", target=device)
        await self.devices.set_secret(device, hashlib.sha256(secret.encode()).hexdigest())
        _log.info("device.secret", device=device, by=caller.id)
        await self._cut(device)
        return DeviceCredentials(id=found.id, name=found.name, created_at=found.created_at, secret=secret)

    async def certify(
        self, device: str, wish: CertificateRequest, *, caller: Principal, trail: Trail
    ) -> DeviceCertificate:
        """A client certificate on a key that the device has made and keeps.

        Raises:
            NotFound: `unknown_device`; `no_authority` when this installation signs none.
            Forbidden: `device_disabled`.
            BadInput: `invalid_csr`.
        """
        found = await self._own(device, caller)
        if self.authority is None:
            raise NotFound("this installation signs no certificates", code="no_authority")
        if found.disabled:
            raise Forbidden("the device is disabled", code="device_disabled")
        issued = self.authority.issue(device, wish.csr)
        await trail.record("device.certified", target=device, serial=issued.serial)
        _log.info("device.certified", device=device, serial=issued.serial, by=caller.id)
        return DeviceCertificate(
            certificate=issued.certificate,
            authority=issued.authority,
            serial=issued.serial,
            expires_at=issued.expires_at,
        )

    async def _own(self, device: str, caller: Principal) -> Device:
        """The caller's device, or the device that calls."""
        found = await self.devices.get(device) if is_principal(device) and is_device(device) else None
        mine = caller.kind is PrincipalKind.USER and found is not None and found.owner == caller.id
        if found is None or not (mine or caller.id == found.id):
            raise NotFound("there is no such device of yours", code="unknown_device")
        return found

    async def _cut(self, device: str) -> None:
        try:
            await self.invalidations.publish(Invalidation(kind="principal", user=device))
        except Unavailable as error:  # the brokers' sweep finds who is disabled within a minute
            _log.warning("invalidation.lost", kind="principal", reason=error.reason)
