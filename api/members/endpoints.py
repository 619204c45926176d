"""`/v1/chats/{chat}/members`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.members.announce import Announcer
from api.members.schemas import MemberPage, MembersQuery, NewMembers, NewOwner, NewRole
from api.members.service import MemberService
from api.users.endpoints import PeopleDep
from chat.models import Role

router = APIRouter(tags=["members"])


async def member_service(parts: PartsDep, people: PeopleDep) -> MemberService:
    """On the stores of this process."""
    return MemberService(
        chats=parts.stores.chats,
        memberships=parts.stores.memberships,
        messages=parts.stores.messages,
        people=people,
        announcer=Announcer(parts.invalidations, parts.link, parts.stores.notices),
        max_members=parts.settings.api_max_members,
    )


Service = Annotated[MemberService, Depends(member_service)]


@router.get(
    "/v1/chats/{chat}/members",
    summary="Members of a chat",
    responses={**returns(MemberPage, "Members by id"), **problems(401, 404)},
)
async def members(chat: str, query: Annotated[MembersQuery, Query()], caller: Caller, service: Service) -> Response:
    """Present members with their watermarks. Code: `unknown_chat`."""
    return answer(await service.page(chat, query, caller=caller))


@router.post(
    "/v1/chats/{chat}/members",
    status_code=201,
    summary="Add members to a group",
    responses={
        **returns(MemberPage, "Added; all that were named", status=201),
        **returns(MemberPage, "They were all in it already"),
        **problems(401, 403, 404, 409, 413),
    },
)
async def add(chat: str, wish: NewMembers, caller: Caller, service: Service) -> Response:
    """All of them or, if one is unknown, none. Codes: `unknown_chat`, `unknown_user`, `not_reachable`, `fixed_members`, `not_a_manager`, `too_many_members`."""
    page, added = await service.add(chat, wish, caller=caller)
    return answer(page, status=201 if added else 200)


@router.patch(
    "/v1/chats/{chat}/members/{user}",
    summary="Give a member another role",
    responses={**returns(MemberPage, "The member"), **problems(401, 403, 404)},
)
async def set_role(chat: str, user: str, wish: NewRole, caller: Caller, service: Service) -> Response:
    """The owner does. Codes: `unknown_chat`, `unknown_member`, `fixed_members`, `not_a_manager`."""
    return answer(await service.set_role(chat, user, Role(wish.role), caller=caller))


@router.delete(
    "/v1/chats/{chat}/members/{user}",
    status_code=204,
    summary="Remove a member, or leave",
    responses={204: {"description": "They are no longer in the chat"}, **problems(401, 403, 404, 409)},
)
async def remove(chat: str, user: str, caller: Caller, service: Service) -> Response:
    """From now on they neither read nor write it. When its owner leaves, the oldest admin owns the chat, else the oldest member.

    Codes: `unknown_chat`, `unknown_member`, `fixed_members`, `not_a_manager`, `no_successor` (only readers would stay).
    """
    await service.remove(chat, user, caller=caller)
    return Response(status_code=204)


@router.put(
    "/v1/chats/{chat}/owner",
    summary="Give the chat another owner",
    responses={**returns(MemberPage, "The two"), **problems(401, 403, 404, 422)},
)
async def hand_over(chat: str, wish: NewOwner, caller: Caller, service: Service) -> Response:
    """The owner does, and is an admin from then on. Codes: `unknown_chat`, `unknown_member`, `fixed_members`, `not_a_manager`."""
    return answer(await service.hand_over(chat, wish.user, caller=caller))
