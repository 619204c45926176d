"""What the routes about sign-ins answer."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Session(msgspec.Struct):
    """A sign-in of the caller's.

    `client`: what the program called itself. `address`: from where it was last refreshed. `via`: `password`, or `oidc:` and the
    provider's name. `used_at`: when it was made or last refreshed. `current`: whether it is the one that asks.
    """

    id: str
    client: str
    address: str
    via: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    current: bool


class SessionList(msgspec.Struct):
    """Sign-ins, the last used first."""

    items: list[Session]


SESSIONS_EXAMPLE = {
    "items": [
        {
            "id": "0f3c9b6c5f0b4d1e8a7766554433221f",
            "client": "pabal-android/1.4 (Pixel 9)",
            "address": "192.0.2.17",
            "via": "password",
            "created_at": "2026-05-04T03:02:01.123000Z",
            "used_at": "2026-05-04T09:17:01.456000Z",
            "expires_at": "2026-06-03T09:17:01.456000Z",
            "current": True,
        }
    ]
}
