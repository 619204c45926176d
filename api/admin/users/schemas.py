"""What the administration's routes about users take and answer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.admin.access import Moment, Reason, Text
from api.clock import now
from chat.admin import Account, AccountState, Exclusion
from chat.permissions import rank

MAX_DEVICES = 100
"""Devices that are shown with their owner."""


class UsersQuery(BaseModel):
    """`GET /v1/admin/users`."""

    model_config = ConfigDict(extra="forbid")

    text: Text | None = None
    state: AccountState | None = None
    staff: bool | None = Field(default=None, description="only moderators and administrators, or only others")
    shadowed: bool | None = Field(default=None, description="only those who are shadow-banned, or only others")
    cursor: str | None = Field(default=None, max_length=256, description="`next` of the page before")
    limit: int = Field(default=50, ge=1, le=200)


class WhyQuery(BaseModel):
    """The query of what is taken back."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class Why(BaseModel):
    """The body of what needs no more than a reason."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: Reason


class Sanction(BaseModel):
    """Keep somebody out."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    until: Moment | None = Field(
        default=None, description="it ends by itself then; null: when it is lifted", examples=["2026-06-01T00:00:00Z"]
    )

    def end(self) -> datetime | None:
        """`until` in UTC, in whole milliseconds, as it is stored."""
        if self.until is None:
            return None
        return self.until.replace(microsecond=self.until.microsecond // 1000 * 1000)


class NewRank(BaseModel):
    """`PUT /v1/admin/users/{user}/rank`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rank: Literal["user", "moderator", "admin"]
    reason: Reason


class AdminUser(msgspec.Struct):
    """A user, as administrators see them.

    `rank`: `user`, `moderator` or `admin`. `state`: `active`, `disabled`, `suspended` or `banned`. `block`: the newest suspension or ban, also
    when it is over; null when it was lifted.
    """

    id: str
    display_name: str
    created_at: datetime
    rank: str
    state: str
    shadowed: bool
    block: Exclusion | None


class OwnedDevice(msgspec.Struct):
    """A device with its owner's page."""

    id: str
    name: str
    disabled: bool


class AdminUserDetail(AdminUser):
    """A user with what is theirs. `chats`: how many they are in. `devices`: the first hundred."""

    chats: int
    devices: list[OwnedDevice]


class AdminUserPage(msgspec.Struct):
    """Users by id."""

    items: list[AdminUser]
    next: str | None = None


def facts(account: Account) -> dict[str, Any]:
    """The fields of `AdminUser`."""
    return {
        "id": account.id,
        "display_name": account.display_name,
        "created_at": account.created_at,
        "rank": rank(admin=account.admin, moderator=account.moderator).name.lower(),
        "state": account.state(now()).value,
        "shadowed": account.shadowed,
        "block": account.block,
    }


USER_EXAMPLE = {
    "id": "haneul",
    "display_name": "김하늘",
    "created_at": "2026-05-04T03:02:01.123000Z",
    "rank": "user",
    "state": "suspended",
    "shadowed": False,
    "block": {
        "kind": "suspended",
        "at": "2026-05-20T03:02:01.123000Z",
        "by": "admin",
        "reason": "욕설 신고 3건",
        "until": "2026-06-01T00:00:00Z",
    },
}
USER_DETAIL_EXAMPLE = {
    **USER_EXAMPLE,
    "chats": 3,
    "devices": [{"id": "dev-livingroom", "name": "거실 온도계", "disabled": True}],
}
USERS_EXAMPLE = {"items": [USER_EXAMPLE], "next": None}
