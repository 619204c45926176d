"""What the routes about OpenID providers take and answer."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

MAX_LOGIN = 4096


class Start(BaseModel):
    """`POST /v1/auth/oidc/{provider}/start`."""

    model_config = ConfigDict(extra="forbid")

    redirect_uri: str = Field(
        max_length=2048, description="one of those that the provider knows", examples=["https://app.example/callback"]
    )


class Finish(BaseModel):
    """`POST /v1/auth/oidc/{provider}/finish`."""

    model_config = ConfigDict(extra="forbid")

    login: str = Field(max_length=MAX_LOGIN, description="as `start` answered it", examples=["q2Zt…"])
    code: str = Field(max_length=MAX_LOGIN, description="of the redirect", examples=["SplxlOBeZQQYbYS6WxSbIA"])
    state: str = Field(max_length=256, description="of the redirect", examples=["af0ifjsldkj"])
    handle: str | None = Field(
        default=None, max_length=64, description="for a new user; made of what the provider says when left out"
    )


class Providers(msgspec.Struct):
    """The names of those that may be used."""

    items: list[str]


class Started(msgspec.Struct):
    """Where the person goes, and what the app that began keeps for `finish`; it is no good to anybody else's browser."""

    authorization_url: str
    login: str


PROVIDERS_EXAMPLE = {"items": ["corp"]}
STARTED_EXAMPLE = {"authorization_url": "https://id.example/authorize?response_type=code&…", "login": "q2Zt…"}
