"""What the routes about Web Push take and answer."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

_ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABo"
_P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
_KEY = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"


class Keys(BaseModel):
    """The browser's half."""

    model_config = ConfigDict(extra="forbid", strict=True)

    p256dh: str = Field(max_length=100, description="public key, base64url", examples=[_P256DH])
    auth: str = Field(max_length=32, description="16 bytes, base64url", examples=["BTBZMqHH6r4Tts7J_aSIgg"])


class BrowserSubscription(BaseModel):
    """What `PushSubscription.toJSON()` gives, and `key`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    endpoint: str = Field(pattern=r"^[!-~]+$", max_length=2048, examples=[_ENDPOINT])
    keys: Keys
    key: str | None = Field(
        default=None,
        max_length=100,
        description="the `applicationServerKey` that it was made with; by default the newest",
    )
    expiration_time: float | None = Field(
        default=None, alias="expirationTime", description="not looked at: the push service says when it is over"
    )


class ServerKey(msgspec.Struct):
    """What browsers subscribe with (`applicationServerKey`): an uncompressed point of P-256, base64url."""

    key: str


class Subscribed(msgspec.Struct):
    """The push token that stands for a subscription; `DELETE /v1/push-tokens/{token}` ends it."""

    token: str


SERVER_KEY_EXAMPLE = {"key": _KEY}
SUBSCRIBED_EXAMPLE = {"token": "wp-3q2-7wAbCdEfGhIjKlMnOpQrStUvWxYz012345678"}
