"""`/v1/chats/{chat}/invitations`, `/v1/chats/{chat}/requests`, `/v1/invitations`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.answers import answer, returns
from api.chats.endpoints import chat_service
from api.chats.schemas import ChatView
from api.chats.service import ChatService
from api.contacts.schemas import PeopleQuery
from api.deps import Caller, PartsDep
from api.errors import problems
from api.invitations.schemas import (
    LinkList,
    NewLink,
    NewLinkView,
    Preview,
    RequestPage,
    Token,
    Waiting,
    WaitingList,
)
from api.invitations.service import InvitationService
from api.members.endpoints import member_service
from api.members.schemas import MemberPage
from api.members.service import MemberService

router = APIRouter(tags=["invitations"])


async def _service(
    parts: PartsDep,
    chats: Annotated[ChatService, Depends(chat_service)],
    members: Annotated[MemberService, Depends(member_service)],
) -> InvitationService:
    settings = parts.settings
    return InvitationService(
        parts.stores.invitations, chats, members, settings.api_max_links, settings.api_max_join_requests
    )


Service = Annotated[InvitationService, Depends(_service)]


@router.post(
    "/v1/chats/{chat}/invitations",
    status_code=201,
    summary="Make a link into a chat",
    responses={
        **returns(NewLinkView, "The link; its token is shown this once", status=201),
        **problems(401, 403, 404, 409, 422),
    },
)
async def create(chat: str, wish: NewLink, caller: Caller, service: Service) -> Response:
    """Managers do. Whoever has the token may come in, until it expires, is used up or is revoked.

    Codes: `unknown_chat`, `fixed_members`, `not_a_manager`, `too_many_links`.
    """
    return answer(await service.create(chat, wish, caller=caller), status=201)


@router.get(
    "/v1/chats/{chat}/invitations",
    summary="Links into a chat",
    responses={**returns(LinkList, "Those that are good, the newest first"), **problems(401, 403, 404)},
)
async def links(chat: str, caller: Caller, service: Service) -> Response:
    """Without what opens them. Codes: `unknown_chat`, `fixed_members`, `not_a_manager`."""
    return answer(await service.links(chat, caller=caller))


@router.delete(
    "/v1/chats/{chat}/invitations/{link}",
    status_code=204,
    summary="Revoke a link",
    responses={204: {"description": "Nobody comes by it any more"}, **problems(401, 403, 404)},
)
async def revoke(chat: str, link: str, caller: Caller, service: Service) -> Response:
    """Who has come by it stays. Codes: `unknown_chat`, `unknown_invitation`, `fixed_members`, `not_a_manager`."""
    await service.revoke(chat, link, caller=caller)
    return Response(status_code=204)


@router.post(
    "/v1/invitations/preview",
    summary="Where a link leads",
    responses={**returns(Preview, "The chat, as strangers see it"), **problems(401, 404, 422)},
)
async def preview(wish: Token, caller: Caller, service: Service) -> Response:
    """Changes nothing. Code: `unknown_invitation` (unknown, expired, used up, revoked)."""
    return answer(await service.preview(wish.token, caller=caller))


@router.post(
    "/v1/invitations/accept",
    status_code=201,
    summary="Come in by a link, or ask to",
    responses={
        **returns(ChatView, "I am in it now", status=201),
        **returns(ChatView, "I was in it already"),
        **returns(Waiting, "I have asked; a manager of the chat decides", status=202),
        **problems(401, 403, 404, 409, 422),
    },
)
async def accept(wish: Token, caller: Caller, service: Service) -> Response:
    """Again changes nothing and counts nothing. Codes: `unknown_invitation`, `removed`, `too_many_members`, `too_many_requests`."""
    found, new = await service.accept(wish.token, caller=caller)
    return answer(found, status=202 if isinstance(found, Waiting) else 201 if new else 200)


@router.get(
    "/v1/me/requests",
    summary="Where I have asked to join",
    responses={**returns(WaitingList, "What nobody has answered"), **problems(401)},
)
async def mine(caller: Caller, service: Service) -> Response:
    """At most 100. Withdraw one with `DELETE /v1/chats/{chat}/requests/{me}`."""
    return answer(await service.mine(caller=caller))


@router.get(
    "/v1/chats/{chat}/requests",
    summary="Who waits to be let in",
    responses={**returns(RequestPage, "By user id"), **problems(401, 403, 404)},
)
async def requests(chat: str, query: Annotated[PeopleQuery, Query()], caller: Caller, service: Service) -> Response:
    """Managers see them. What nobody answers in 30 days is forgotten. Codes: `unknown_chat`, `fixed_members`, `not_a_manager`."""
    return answer(await service.requests(chat, query, caller=caller))


@router.put(
    "/v1/chats/{chat}/requests/{user}",
    status_code=201,
    summary="Let somebody in who has asked",
    responses={**returns(MemberPage, "The member", status=201), **problems(401, 403, 404, 409)},
)
async def approve(chat: str, user: str, caller: Caller, service: Service) -> Response:
    """Managers do. Codes: `unknown_chat`, `unknown_request`, `fixed_members`, `not_a_manager`, `too_many_members`."""
    return answer(await service.approve(chat, user, caller=caller), status=201)


@router.delete(
    "/v1/chats/{chat}/requests/{user}",
    status_code=204,
    summary="Refuse somebody who has asked, or withdraw",
    responses={204: {"description": "They no longer wait"}, **problems(401, 403, 404)},
)
async def refuse(chat: str, user: str, caller: Caller, service: Service) -> Response:
    """Managers refuse others, everybody withdraws what they have asked. Codes: `unknown_chat`, `unknown_request`, `fixed_members`, `not_a_manager`."""
    await service.refuse(chat, user, caller=caller)
    return Response(status_code=204)
