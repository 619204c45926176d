"""Who may administer: users by their rank, programs by the scopes of their tokens. Everybody else gets one answer, whatever they ask for
and whether it is there or not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from pydantic import AfterValidator, Field

from api import values
from api.deps import Holder, Parts, PartsDep, insufficient_scope
from api.trail import Trail, trail_of
from chat import permissions
from chat.errors import Forbidden
from chat.models import Principal, PrincipalKind
from chat.permissions import Rank, Scope, scopes_of

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
    """Who administers, a user or a program, and the trail that they leave."""

    id: str
    rank: Rank
    trail: Trail


def admin_only() -> Forbidden:
    """The one answer for users who may not."""
    return Forbidden("this is for administrators", code="admin_only")


def _staff(least: Rank, *, looks: bool = False) -> Callable[[PartsDep, Holder, Request], Awaitable[Staff]]:
    """A dependency: staff of that rank at least.

    Args:
        looks: the route changes nothing, so `admin:read` opens it as well.
    """
    wanted = [Scope.ADMIN if least is Rank.ADMIN else Scope.MODERATE, *([Scope.ADMIN_READ] if looks else [])]

    async def staff(parts: PartsDep, holder: Holder, request: Request) -> Staff:
        scopes = scopes_of(holder)
        if holder.kind is PrincipalKind.USER:
            rank = await _rank(parts, holder)
            if rank < least:
                raise admin_only()
        else:
            rank = permissions.rank_of(scopes)
            if rank < least and not (looks and permissions.may_look(scopes)):
                raise insufficient_scope(*wanted)
        return Staff(holder.id, rank, trail_of(parts, request, holder.id))

    return staff


async def _rank(parts: Parts, user: Principal) -> Rank:
    """Asked of the store and not only of the token: who is no longer one is out at once."""
    account = await parts.stores.admin.account(user.id)
    if account is None:
        return Rank.USER
    return permissions.rank(admin=account.admin and user.admin, moderator=account.moderator)


Moderator = Annotated[Staff, Depends(_staff(Rank.MODERATOR))]
"""A moderator or administrator, or a program with `moderate`; 403 for everybody else."""

Administrator = Annotated[Staff, Depends(_staff(Rank.ADMIN))]
"""An administrator, or a program with `admin`; 403 for everybody else, moderators included."""

ModeratorLooks = Annotated[Staff, Depends(_staff(Rank.MODERATOR, looks=True))]
"""As `Moderator`, and programs with `admin:read`: for routes that change nothing."""

AdministratorLooks = Annotated[Staff, Depends(_staff(Rank.ADMIN, looks=True))]
"""As `Administrator`, and programs with `admin:read`: for routes that change nothing."""
