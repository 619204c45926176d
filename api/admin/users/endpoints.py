"""`/v1/admin/users`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import Administrator, Moderator, ModeratorLooks
from api.admin.users.schemas import (
    AdminUserDetail,
    AdminUserPage,
    NewRank,
    Sanction,
    UsersQuery,
    Why,
    WhyQuery,
)
from api.admin.users.service import UserAdmin
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems
from chat.admin import ExclusionKind

router = APIRouter(tags=["administration"])

_ONE = "/v1/admin/users/{user}"
_CHANGED = {**returns(AdminUserDetail, "The user as they are now"), **problems(401, 403, 404)}


async def _service(parts: PartsDep) -> UserAdmin:
    stores = parts.stores
    return UserAdmin(stores.admin, stores.chats, stores.grants, parts.invalidations)


Service = Annotated[UserAdmin, Depends(_service)]


@router.get(
    "/v1/admin/users",
    summary="Find users",
    responses={**returns(AdminUserPage, "Users by id"), **problems(401, 403)},
)
async def users(query: Annotated[UsersQuery, Query()], _staff: ModeratorLooks, service: Service) -> Response:
    """For moderators. Codes: `admin_only`, `invalid_cursor`."""
    return answer(await service.page(query))


@router.get(_ONE, summary="A user", responses={**returns(AdminUserDetail, "The user"), **problems(401, 403, 404)})
async def user(user: str, _staff: ModeratorLooks, service: Service) -> Response:
    """For moderators. Never with credentials. Codes: `admin_only`, `unknown_user`."""
    return answer(await service.show(user))


@router.put(_ONE + "/suspension", summary="Suspend a user", responses=_CHANGED)
async def suspend(user: str, wish: Sanction, staff: Moderator, service: Service) -> Response:
    """For moderators, of those below them. It takes effect everywhere at once: requests are refused, sign-ins end, connections are
    cut, what waits for them is kept back; their devices too. It ends by itself at `until`.

    Codes: `admin_only` (also for those above, and oneself), `unknown_user`, `already_over`.
    """
    return answer(await service.block(user, ExclusionKind.SUSPENDED, wish, staff=staff))


@router.put(_ONE + "/ban", summary="Ban a user", responses=_CHANGED)
async def ban(user: str, wish: Sanction, staff: Administrator, service: Service) -> Response:
    """As a suspension, but for administrators, and no moderator lifts it. Codes: as there."""
    return answer(await service.block(user, ExclusionKind.BANNED, wish, staff=staff))


@router.delete(_ONE + "/block", summary="Let a user in again", responses=_CHANGED)
async def lift(user: str, why: Annotated[WhyQuery, Query()], staff: Moderator, service: Service) -> Response:
    """Ends a suspension (for moderators) or ban (for administrators). They have to sign in again. Codes: `admin_only`, `unknown_user`."""
    return answer(await service.lift(user, why.reason, staff=staff))


@router.put(_ONE + "/shadow", summary="Shadow-ban a user", responses=_CHANGED)
async def shadow(user: str, why: Why, staff: Moderator, service: Service) -> Response:
    """For moderators: what they send from now on nobody but themselves sees. Codes: `admin_only`, `unknown_user`."""
    return answer(await service.shadow(user, why.reason, shadowed=True, staff=staff))


@router.delete(_ONE + "/shadow", summary="End a shadow ban", responses=_CHANGED)
async def unshadow(user: str, why: Annotated[WhyQuery, Query()], staff: Moderator, service: Service) -> Response:
    """For moderators. What was sent meanwhile stays hidden. Codes: `admin_only`, `unknown_user`."""
    return answer(await service.shadow(user, why.reason, shadowed=False, staff=staff))


@router.delete(_ONE + "/sign-ins", summary="Sign a user out everywhere", responses=_CHANGED)
async def sign_out(user: str, why: Annotated[WhyQuery, Query()], staff: Moderator, service: Service) -> Response:
    """For moderators. They may sign in again. Codes: `admin_only`, `unknown_user`."""
    return answer(await service.sign_out(user, why.reason, staff=staff))


@router.put(_ONE + "/rank", summary="Make a user a moderator or administrator, or neither", responses=_CHANGED)
async def rank(user: str, wish: NewRank, staff: Administrator, service: Service) -> Response:
    """For administrators; nobody changes their own. Their sign-ins end. Codes: `admin_only`, `unknown_user`."""
    return answer(await service.set_rank(user, wish, staff=staff))
