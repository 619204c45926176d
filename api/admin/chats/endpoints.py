"""`/v1/admin/chats`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import ModeratorLooks
from api.admin.chats.schemas import AdminChatDetail, AdminChatPage, AdminChatsQuery, AdminMemberPage, AdminMembersQuery
from api.admin.chats.service import ChatAdmin
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> ChatAdmin:
    return ChatAdmin(parts.stores.admin, parts.stores.chats)


Service = Annotated[ChatAdmin, Depends(_service)]


@router.get(
    "/v1/admin/chats", summary="Find chats", responses={**returns(AdminChatPage, "Chats by id"), **problems(401, 403)}
)
async def chats(query: Annotated[AdminChatsQuery, Query()], _staff: ModeratorLooks, service: Service) -> Response:
    """For moderators. Codes: `admin_only`, `invalid_cursor`."""
    return answer(await service.page(query))


@router.get(
    "/v1/admin/chats/{chat}",
    summary="A chat, for administrators",
    responses={**returns(AdminChatDetail, "The chat"), **problems(401, 403, 404)},
)
async def chat(chat: str, _staff: ModeratorLooks, service: Service) -> Response:
    """For moderators; without what is said in it. Codes: `admin_only`, `unknown_chat`."""
    return answer(await service.show(chat))


@router.get(
    "/v1/admin/chats/{chat}/members",
    summary="Who is in a chat, for administrators",
    responses={**returns(AdminMemberPage, "Members by id"), **problems(401, 403, 404)},
)
async def members(
    chat: str, query: Annotated[AdminMembersQuery, Query()], _staff: ModeratorLooks, service: Service
) -> Response:
    """For moderators. Codes: `admin_only`, `unknown_chat`, `invalid_cursor`."""
    return answer(await service.members(chat, query))
