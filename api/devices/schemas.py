"""What the routes about devices take and answer."""

from __future__ import annotations

from datetime import datetime

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from adapters.authority import MAX_REQUEST
from chat.models import Device


class NewDevice(BaseModel):
    """`POST /v1/devices`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128, examples=["거실 온도계"])
    id: str | None = Field(
        default=None, max_length=64, description="`dev-…`; made here when left out", examples=["dev-livingroom"]
    )


class DeviceChange(BaseModel):
    """`PATCH /v1/devices/{device}`; what is left out stays."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str | None = Field(default=None, min_length=1, max_length=128, examples=["안방 온도계"])
    disabled: bool | None = Field(default=None, strict=True, description="it may not come in, whatever it shows")


class CertificateRequest(BaseModel):
    """`POST /v1/devices/{device}/certificates`."""

    model_config = ConfigDict(extra="forbid")

    csr: str = Field(
        max_length=MAX_REQUEST,
        description="PKCS 10 in PEM form; the subject is empty or names the device",
        examples=["-----BEGIN CERTIFICATE REQUEST-----\nMIHh…"],
    )


class DeviceView(msgspec.Struct):
    """A device of the caller's."""

    id: str
    name: str
    created_at: datetime
    disabled: bool


def view(device: Device) -> DeviceView:
    """The device without what is secret."""
    return DeviceView(id=device.id, name=device.name, created_at=device.created_at, disabled=device.disabled)


class DeviceCertificate(msgspec.Struct):
    """A client certificate for the broker's TLS ports, PEM, with the certificate of who signed it."""

    certificate: str
    authority: str
    serial: str
    expires_at: datetime


class DeviceCredentials(msgspec.Struct):
    """A device with its new secret. Over MQTT `id` is its user name and `secret` its password; the secret is shown only here."""

    id: str
    name: str
    created_at: datetime
    secret: str


class DeviceList(msgspec.Struct):
    """The caller's devices."""

    items: list[DeviceView]


_DEVICE = {"id": "dev-livingroom", "name": "거실 온도계", "created_at": "2026-05-04T03:02:01.123000Z"}
CREDENTIALS_EXAMPLE = {**_DEVICE, "secret": "3jX0…"}
DEVICE_EXAMPLE = {**_DEVICE, "disabled": False}
DEVICES_EXAMPLE = {"items": [DEVICE_EXAMPLE]}
CERTIFICATE_EXAMPLE = {
    "certificate": "-----BEGIN CERTIFICATE-----\nMIIB…",
    "authority": "-----BEGIN CERTIFICATE-----\nMIIB…",
    "serial": "5f0b4d1e8a7766554433221f",
    "expires_at": "2026-08-02T03:02:01Z",
}
