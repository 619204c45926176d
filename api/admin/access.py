"""Who may administer. Everybody else gets one answer, whatever they ask for and whether it is there or not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator, Field

from api import values
from api.deps import Caller, PartsDep
from api.trail import Trail, trail_of
from chat import permissions
from chat.errors import Forbidden
from chat.permissions import Rank

Reason = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1000,
        pattern=r"\S",
        description="why: it goes to the audit log",
        examples=["욕설 신고 3건"],
    ),
]
"""Why something is done; never empty."""


def _utc(moment: datetime) -> datetime:
    """In UTC, in years that every store and every later sum can hold."""
    if not 1970 <= moment.year <= 9000:
        raise ValueError("a time is in the years from 1970 to 9000")
    return moment.astimezone(UTC)


Moment = Annotated[values.Moment, AfterValidator(_utc)]
"""A time with its offset, turned into UTC."""

Text = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f]+$",
        description="the id begins with it, or the name holds it",
    ),
]
"""A piece of a name."""


@dataclass(frozen=True, slots=True)
class Staff:
    """A moderator or administrator, and the trail that they leave."""

    id: str
    rank: Rank
    trail: Trail


def admin_only() -> Forbidden:
    """The one answer for those who may not."""
    return Forbidden("this is for administrators", code="admin_only")


async def _moderator(parts: PartsDep, caller: Caller, request: Request) -> Staff:
    """Asked of the store and not only of the token: who is no longer one is out at once."""
    account = await parts.stores.admin.account(caller.id)
    if account is None:
        raise admin_only()
    rank = permissions.rank(admin=account.admin and caller.admin, moderator=account.moderator)
    if rank < Rank.MODERATOR:
        raise admin_only()
    return Staff(caller.id, rank, trail_of(parts, request, caller.id))


Moderator = Annotated[Staff, Depends(_moderator)]
"""A moderator or administrator; 403 for everybody else."""


async def _administrator(staff: Moderator) -> Staff:
    if staff.rank is not Rank.ADMIN:
        raise admin_only()
    return staff


Administrator = Annotated[Staff, Depends(_administrator)]
"""An administrator; 403 for everybody else, moderators included."""
