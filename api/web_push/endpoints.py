"""`/v1/web-push`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.push_tokens.service import PushTokenService
from api.web_push.schemas import BrowserSubscription, ServerKey, Subscribed
from api.web_push.service import WebPushService

router = APIRouter(tags=["push tokens"])


async def _service(parts: PartsDep) -> WebPushService:
    tokens = PushTokenService(tokens=parts.stores.push_tokens, max_tokens=parts.settings.api_max_push_tokens)
    return WebPushService(tokens, parts.vapid, parts.settings.push_services)


Service = Annotated[WebPushService, Depends(_service)]


@router.get(
    "/v1/web-push/key",
    summary="The key that browsers subscribe with",
    responses={**returns(ServerKey, "The newest"), **problems(401, 404)},
)
async def key(_caller: Caller, service: Service) -> Response:
    """For `pushManager.subscribe({applicationServerKey})`. When it is another than at the last time, subscribe anew. Codes: `web_push_off`."""
    return answer(await service.key())


@router.put(
    "/v1/web-push/subscriptions",
    summary="Send me pushes to this browser",
    responses={**returns(Subscribed, "The push token that stands for it"), **problems(401, 404, 422)},
)
async def subscribe(subscription: BrowserSubscription, caller: Caller, service: Service) -> Response:
    """Call it at every start of the page: a browser belongs to the last user who brought it.

    Codes: `web_push_off`, `unknown_push_service`, `unknown_push_key`, `invalid_subscription`.
    """
    return answer(await service.subscribe(subscription, caller=caller))
