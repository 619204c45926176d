"""What the administration's routes about devices take and answer."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.admin.access import Text
from chat.admin import DeviceRow


class AdminDevicesQuery(BaseModel):
    """`GET /v1/admin/devices`."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    owner: str | None = Field(default=None, max_length=64)
    cursor: str | None = Field(default=None, max_length=256, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)


class AdminDevice(DeviceRow):
    """A device, as administrators see it: never its secret. `disabled`: by itself, or because its owner is kept out."""


class AdminDevicePage(msgspec.Struct):
    """Devices by id."""

    items: list[AdminDevice]
    next: str | None = None


DEVICE_EXAMPLE = {
    "id": "dev-livingroom",
    "owner": "haneul",
    "name": "거실 온도계",
    "created_at": "2026-05-04T03:02:01.123000Z",
    "disabled": False,
}
DEVICES_EXAMPLE = {"items": [DEVICE_EXAMPLE], "next": None}
