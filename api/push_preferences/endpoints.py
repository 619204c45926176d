"""`/v1/me/push-preferences`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.push_preferences.schemas import Preferences, Wanted
from api.push_preferences.service import PushPreferenceService

router = APIRouter(tags=["me"])

_PATH = "/v1/me/push-preferences"


async def _service(parts: PartsDep) -> PushPreferenceService:
    return PushPreferenceService(parts.stores.push_preferences)


Service = Annotated[PushPreferenceService, Depends(_service)]


@router.get(
    _PATH,
    summary="What I want of pushes",
    responses={**returns(Preferences, "What holds for all my installations"), **problems(401)},
)
async def preferences(caller: Caller, service: Service) -> Response:
    """The defaults, if I have said nothing."""
    return answer(await service.get(caller.id))


@router.put(
    _PATH,
    summary="Choose what pushes show, and when they come",
    responses={**returns(Preferences, "What holds now"), **problems(401, 422)},
)
async def choose(wanted: Wanted, caller: Caller, service: Service) -> Response:
    """Holds from the next push on. Within the quiet hours nobody is woken, whoever names them; the messages wait in the chat.

    Codes: `unknown_time_zone`, `empty_quiet_hours`.
    """
    return answer(await service.put(wanted, caller=caller.id))
