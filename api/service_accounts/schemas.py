"""What the routes about service accounts take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field


class NewServiceAccount(BaseModel):
    """`POST /v1/admin/services`."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(max_length=64, pattern=r"^svc-[a-z0-9][a-z0-9._-]*$", examples=["svc-shop"])
    name: str = Field(min_length=1, max_length=128, examples=["쇼핑몰 주문 알림"])
    scopes: list[Literal["introspect", "admin:read", "moderate", "admin"]] = Field(
        min_length=1,
        max_length=4,
        description="what its tokens open: tokens of others, what administrators see, what moderators do, all of administration",
        examples=[["introspect"]],
    )


class ServiceAccountView(msgspec.Struct):
    """A service account, without its secret."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str


class ServiceAccountCredentials(msgspec.Struct):
    """A service account with its new secret, which is shown only here. `id` is its `client_id`, `secret` its `client_secret`."""

    id: str
    name: str
    scopes: list[str]
    created_at: datetime
    created_by: str
    secret: str


class ServiceAccountPage(msgspec.Struct):
    """Service accounts by id. `next`: the cursor of the next page."""

    items: list[ServiceAccountView]
    next: str | None


_ACCOUNT = {
    "id": "svc-shop",
    "name": "쇼핑몰 주문 알림",
    "scopes": ["introspect"],
    "created_at": "2026-05-04T03:02:01.123000Z",
    "created_by": "admin",
}
SERVICE_CREDENTIALS_EXAMPLE = {**_ACCOUNT, "secret": "9fXk…"}
SERVICES_EXAMPLE = {"items": [_ACCOUNT], "next": None}
