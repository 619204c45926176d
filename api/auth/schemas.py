"""What registration and sign-in take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.auth.password_rules import MAX_LENGTH, MIN_LENGTH

DisplayName = Annotated[
    str,
    Field(min_length=1, max_length=128, description="kept exactly as it is sent", examples=["김하늘"]),
]
"""What people see. No normal form is forced on it: NFC, NFD and emoji come back as they came."""


class Registration(BaseModel):
    """`POST /v1/auth/register`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    handle: str = Field(max_length=64, description="2 to 32 of a-z, 0-9, '.', '_', '-'", examples=["haneul"])
    password: str = Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH, examples=["파발은 밤에도 달린다"])
    display_name: DisplayName


class PasswordChange(BaseModel):
    """`PUT /v1/me/password`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    current_password: str = Field(max_length=MAX_LENGTH, repr=False, examples=["파발은 밤에도 달린다"])
    new_password: str = Field(
        min_length=MIN_LENGTH, max_length=MAX_LENGTH, repr=False, examples=["역참마다 말을 갈아탄다"]
    )


class Account(msgspec.Struct):
    """A user, as they see themselves."""

    id: str
    display_name: str
    admin: bool
    created_at: datetime
    hides_seen: bool
    about: str
    avatar: str | None
    profile_for: str
    reachable_by: str


class Tokens(msgspec.Struct):
    """RFC 6749 §5.1. `expires_in`: seconds that the access token lives. The refresh token works once; programs that sign in with a
    secret get none.
    """

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | msgspec.UnsetType = msgspec.UNSET


class Introspection(msgspec.Struct, omit_defaults=True):
    """RFC 7662 §2.2. `active` alone for a token that is not valid now, whatever is wrong with it."""

    active: bool
    sub: str | None = None
    scope: str | None = None
    sid: str | None = None
    iss: str | None = None
    aud: str | None = None
    exp: int | None = None
    iat: int | None = None
    token_type: str | None = None


ACCOUNT_EXAMPLE = {
    "id": "haneul",
    "display_name": "김하늘",
    "admin": False,
    "created_at": "2026-05-04T03:02:01.123000Z",
    "hides_seen": False,
    "about": "산에 있어요 ⛰️",
    "avatar": None,
    "profile_for": "everyone",
    "reachable_by": "contacts",
}
TOKENS_EXAMPLE = {
    "access_token": "eyJhbGciOi…",
    "token_type": "bearer",
    "expires_in": 900,
    "refresh_token": "q2Zt…",
    "scope": "user",
}
INTROSPECTION_EXAMPLE = {
    "active": True,
    "sub": "haneul",
    "scope": "user",
    "sid": "0f3c9b6c5f0b4d1e8a7766554433221f",
    "iss": "pabal",
    "aud": "pabal",
    "exp": 1777864621,
    "iat": 1777863721,
    "token_type": "bearer",
}
