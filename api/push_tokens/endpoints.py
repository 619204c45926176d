"""`/v1/push-tokens`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from api.deps import Caller, PartsDep
from api.errors import problems
from api.push_tokens.schemas import Installation
from api.push_tokens.service import PushTokenService

router = APIRouter(tags=["push tokens"])

Token = Annotated[
    str,
    Path(
        pattern=r"^[!-~]+$", max_length=1024, description="the registration token from FCM", examples=["eXamPle:APA91…"]
    ),
]


async def _service(parts: PartsDep) -> PushTokenService:
    return PushTokenService(tokens=parts.stores.push_tokens, max_tokens=parts.settings.api_max_push_tokens)


Service = Annotated[PushTokenService, Depends(_service)]


@router.put(
    "/v1/push-tokens/{token}",
    status_code=204,
    summary="Send me pushes here",
    responses={204: {"description": "Noted"}, **problems(401, 413)},
)
async def put(token: Token, installation: Installation, caller: Caller, service: Service) -> Response:
    """Call it at every start of the app: a token belongs to the last user who brought it."""
    await service.put(token, installation.platform, caller=caller, data_only=installation.data_only)
    return Response(status_code=204)


@router.delete(
    "/v1/push-tokens/{token}",
    status_code=204,
    summary="No more pushes here",
    responses={204: {"description": "Forgotten, if it was yours"}, **problems(401)},
)
async def drop(token: Token, caller: Caller, service: Service) -> Response:
    """Call it when the user signs out."""
    await service.drop(token, caller=caller)
    return Response(status_code=204)
