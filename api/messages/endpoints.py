"""`/v1/chats/{chat}/messages`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import answer, returns
from api.deps import Caller, ClaimDep, PartsDep
from api.errors import problems
from api.etags import answer_once
from api.messages.audience import Progresses
from api.messages.schemas import (
    Cleared,
    ClearedUpTo,
    HistoryItem,
    HistoryPage,
    HistoryQuery,
    MessageReceipts,
    Pins,
    RepliesQuery,
)
from api.messages.service import MessageService
from chat.envelopes import Event

router = APIRouter(tags=["messages"])

_SEND_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Send"}}},
    }
}


UNCHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "As it was: the ETag of If-None-Match"}}


async def _service(parts: PartsDep) -> MessageService:
    return MessageService(
        messages=parts.stores.messages,
        chats=parts.stores.chats,
        progresses=Progresses(parts.stores.chats, parts.stores.receipts, named=parts.settings.api_receipts_named),
        recents=parts.recents,
        openings=parts.stores.openings,
        link=parts.link,
        max_send_bytes=parts.settings.api_max_send_bytes,
        send_timeout=parts.settings.api_send_timeout,
    )


Service = Annotated[MessageService, Depends(_service)]


@router.get(
    "/v1/chats/{chat}/messages",
    summary="History",
    responses={**returns(HistoryPage, "Events by seq"), **UNCHANGED, **problems(401, 404)},
)
async def history(
    chat: str, request: Request, query: Annotated[HistoryQuery, Query()], claim: ClaimDep, service: Service
) -> Response:
    """Events always rise in `seq`; where no place is named it is the newest page. Messages are shown as edits and deletions have left them, with
    their reactions. Codes: `unknown_chat`, `unknown_message`, `invalid_id`.
    """
    return answer_once(request, await service.history(chat, query, claim))


@router.get(
    "/v1/chats/{chat}/messages/{message}",
    summary="One message",
    responses={**returns(HistoryItem, "As in history"), **UNCHANGED, **problems(401, 404)},
)
async def message(chat: str, message: str, request: Request, caller: Caller, service: Service) -> Response:
    """Codes: `unknown_chat`, `unknown_message`, `invalid_id`."""
    return answer_once(request, await service.one(chat, message, caller=caller))


@router.delete(
    "/v1/chats/{chat}/messages/{message}",
    status_code=204,
    summary="Delete a message for everyone, or for me",
    responses=problems(401, 403, 404),
)
async def take_away(
    chat: str,
    message: str,
    caller: Caller,
    service: Service,
    scope: Annotated[Literal["everyone", "me"], Query(alias="for")] = "everyone",
) -> None:
    """The same as sending `delete` or `hide`; who only reads may hide as well. Codes: `unknown_chat`, `unknown_target`, `not_yours`, `too_old`, `read_only`, `invalid_id`."""
    await service.take_away(chat, message, everyone=scope == "everyone", caller=caller)


@router.get(
    "/v1/chats/{chat}/messages/{message}/replies",
    summary="A thread: the messages that answer one",
    responses={**returns(HistoryPage, "By seq; `prev` is null"), **UNCHANGED, **problems(401, 404)},
)
async def replies(
    chat: str,
    message: str,
    request: Request,
    query: Annotated[RepliesQuery, Query()],
    caller: Caller,
    service: Service,
) -> Response:
    """The oldest first. Codes: `unknown_chat`, `unknown_message`, `invalid_id`."""
    return answer_once(request, await service.replies(chat, message, query, caller=caller))


@router.get(
    "/v1/chats/{chat}/messages/{message}/receipts",
    summary="Who has received and seen a message",
    responses={**returns(MessageReceipts, "By name, or counted in large chats"), **UNCHANGED, **problems(401, 404)},
)
async def receipts(chat: str, message: str, request: Request, caller: Caller, service: Service) -> Response:
    """Who hides what they have seen neither shows nor sees it. Codes: `unknown_chat`, `unknown_message`, `invalid_id`."""
    return answer_once(request, await service.receipts(chat, message, caller=caller))


@router.put(
    "/v1/chats/{chat}/cleared",
    summary="Clear a chat for me",
    responses={**returns(ClearedUpTo, "Nothing up to this seq is shown to me any more"), **problems(401, 404, 413)},
)
async def clear(chat: str, wish: Cleared, caller: Caller, service: Service) -> Response:
    """For everybody else all stays as it is. It can't be taken back. Code: `unknown_chat`."""
    return answer(await service.clear(chat, wish.seq, caller=caller))


@router.get(
    "/v1/chats/{chat}/pins",
    summary="Pinned messages",
    responses={**returns(Pins, "The last pinned first"), **UNCHANGED, **problems(401, 404)},
)
async def pins(chat: str, request: Request, caller: Caller, service: Service) -> Response:
    """At most 100; older pins stay pinned and show in history. Code: `unknown_chat`."""
    return answer_once(request, await service.pins(chat, caller=caller))


@router.post(
    "/v1/chats/{chat}/messages",
    status_code=201,
    summary="Send a message",
    responses={
        **returns(Event, "Stored: majority, journaled", status=201),
        **returns(Event, "A repeat: this is what was stored the first time"),
        **problems(401, 403, 404, 409, 413),
    },
    openapi_extra=_SEND_BODY,
)
async def send(chat: str, request: Request, caller: Caller, service: Service) -> Response:
    """The body is the envelope of `chats/{chat}/send/{user}`, read by the same rules.

    Codes: `not_json`, `invalid_envelope`, `invalid_id`, `too_large`, `refused`, `unknown_chat`, `read_only`, `id_taken`,
    `rate_limited`, `unavailable` (send it again with the same id).
    """
    event, created = await service.send(chat, await request.body(), caller=caller)
    return answer(event, status=201 if created else 200)
