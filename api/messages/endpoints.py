"""`/v1/chats/{chat}/messages`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.messages.schemas import HistoryPage, HistoryQuery, Pins
from api.messages.service import MessageService
from chat.envelopes import Event

router = APIRouter(tags=["messages"])

_SEND_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Send"}}},
    }
}


def _service(parts: PartsDep) -> MessageService:
    return MessageService(
        messages=parts.stores.messages,
        chats=parts.stores.chats,
        receipts=parts.stores.receipts,
        link=parts.link,
        max_send_bytes=parts.settings.api_max_send_bytes,
        send_timeout=parts.settings.api_send_timeout,
    )


Service = Annotated[MessageService, Depends(_service)]


@router.get(
    "/v1/chats/{chat}/messages",
    summary="History",
    responses={**returns(HistoryPage, "Events by seq"), **problems(401, 404)},
)
async def history(chat: str, query: Annotated[HistoryQuery, Query()], caller: Caller, service: Service) -> Response:
    """Events always rise in `seq`; without `after` and `before` it is the newest page. Code: `unknown_chat`."""
    return answer(await service.history(chat, query, caller=caller))


@router.get(
    "/v1/chats/{chat}/pins",
    summary="Pinned messages",
    responses={**returns(Pins, "The last pinned first"), **problems(401, 404)},
)
async def pins(chat: str, caller: Caller, service: Service) -> Response:
    """At most 100; older pins stay pinned and show in history. Code: `unknown_chat`."""
    return answer(await service.pins(chat, caller=caller))


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
