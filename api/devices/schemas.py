"""What the routes about devices take and answer."""

from __future__ import annotations

from datetime import datetime

import msgspec
from pydantic import BaseModel, ConfigDict, Field


class NewDevice(BaseModel):
    """`POST /v1/devices`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=128, examples=["거실 온도계"])
    id: str | None = Field(
        default=None, max_length=64, description="`dev-…`; made here when left out", examples=["dev-livingroom"]
    )


class DeviceView(msgspec.Struct):
    """A device of the caller's."""

    id: str
    name: str
    created_at: datetime


class DeviceCredentials(msgspec.Struct):
    """A new device. Over MQTT `id` is its user name and `secret` its password; the secret is shown only here."""

    id: str
    name: str
    created_at: datetime
    secret: str


class DeviceList(msgspec.Struct):
    """The caller's devices."""

    items: list[DeviceView]


_DEVICE = {"id": "dev-livingroom", "name": "거실 온도계", "created_at": "2026-05-04T03:02:01.123000Z"}
CREDENTIALS_EXAMPLE = {**_DEVICE, "secret": "3jX0…"}
DEVICES_EXAMPLE = {"items": [_DEVICE]}
