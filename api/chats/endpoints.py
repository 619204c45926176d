"""`/v1/chats`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer, returns
from api.chats.schemas import Arrangement, ChatPage, ChatsQuery, ChatView, NewChat, NewTitle, Retention
from api.chats.service import ChatService
from api.deps import Caller, PartsDep
from api.errors import problems
from api.members.announce import Announcer
from api.users.endpoints import PeopleDep

router = APIRouter(tags=["chats"])


async def chat_service(parts: PartsDep, people: PeopleDep) -> ChatService:
    """On the stores of this process."""
    return ChatService(
        chats=parts.stores.chats,
        memberships=parts.stores.memberships,
        messages=parts.stores.messages,
        upkeep=parts.stores.upkeep,
        people=people,
        announcer=Announcer(parts.invalidations, parts.link, parts.stores.notices),
        max_members=parts.settings.api_max_members,
    )


Service = Annotated[ChatService, Depends(chat_service)]


@router.post(
    "/v1/chats",
    status_code=201,
    summary="Open a chat",
    responses={
        **returns(ChatView, "The new chat", status=201),
        **returns(ChatView, "The direct chat that the two have already"),
        **problems(401, 403, 404, 409, 413),
    },
)
async def create(wish: NewChat, caller: Caller, service: Service) -> Response:
    """A pair has one direct chat: opening it again answers 200 with the same. In a channel only the owner, and whom they let, write.

    Codes: `unknown_user`, `not_reachable`, `one_peer`, `no_title`, `too_many_members`.
    """
    view, created = await service.create(wish, caller=caller)
    return answer(view, status=201 if created else 200)


@router.get(
    "/v1/chats",
    summary="My chats",
    responses={
        **returns(ChatPage, "Chats, those that I have pinned first, then the most lately active"),
        **problems(401),
    },
)
async def chats(query: Annotated[ChatsQuery, Query()], caller: Caller, service: Service) -> Response:
    """With unread counts and last messages. Code: `invalid_cursor`."""
    return answer(await service.page(query, caller=caller))


@router.get(
    "/v1/chats/{chat}",
    summary="One of my chats",
    responses={**returns(ChatView, "The chat"), **problems(401, 404)},
)
async def chat(chat: str, caller: Caller, service: Service) -> Response:
    """As in the list. Code: `unknown_chat`."""
    return answer(await service.get(chat, caller=caller))


@router.patch(
    "/v1/chats/{chat}",
    summary="Give a group another title",
    responses={**returns(ChatView, "The chat"), **problems(401, 403, 404, 422)},
)
async def rename(chat: str, wish: NewTitle, caller: Caller, service: Service) -> Response:
    """Who manages it does. Codes: `unknown_chat`, `no_title`, `not_a_manager`."""
    return answer(await service.rename(chat, wish.title, caller=caller))


@router.put(
    "/v1/chats/{chat}/retention",
    summary="Say how long a group keeps what is said in it",
    responses={**returns(ChatView, "The chat"), **problems(401, 403, 404, 422)},
)
async def retain(chat: str, wish: Retention, caller: Caller, service: Service) -> Response:
    """Who manages it does. What is older is erased for good, for everybody, and does not come back when the days are raised. Where everything is
    kept for a shorter time, that holds. Codes: `unknown_chat`, `not_a_manager`.
    """
    return answer(await service.retain(chat, wish.days, caller=caller))


@router.patch(
    "/v1/chats/{chat}/arrangement",
    summary="Mute, pin or archive a chat",
    responses={**returns(ChatView, "The chat"), **problems(401, 404, 422)},
)
async def arrange(chat: str, wish: Arrangement, caller: Caller, service: Service) -> Response:
    """For me alone, on all of my devices. What is left out stays. Code: `unknown_chat`."""
    return answer(await service.arrange(chat, wish, caller=caller))
