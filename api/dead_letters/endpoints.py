"""`/v1/admin/dead-letters`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import Administrator, AdministratorLooks
from api.answers import answer, returns
from api.dead_letters.schemas import LetterDetail, LetterPage, LetterQuery, Replayed, WhyMaybe
from api.dead_letters.service import DeadLetterService
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])

_ONE = "/v1/admin/dead-letters/{letter}"


async def _service(parts: PartsDep) -> DeadLetterService:
    return DeadLetterService(
        letters=parts.stores.dead_letters,
        messages=parts.stores.messages,
        link=parts.link,
        jobs=parts.jobs,
        send_timeout=parts.settings.api_send_timeout,
    )


Service = Annotated[DeadLetterService, Depends(_service)]


@router.get(
    "/v1/admin/dead-letters",
    summary="Dead letters",
    responses={**returns(LetterPage, "Letters by id, without their payloads"), **problems(401, 403)},
)
async def letters(query: Annotated[LetterQuery, Query()], _staff: AdministratorLooks, service: Service) -> Response:
    """Messages, pushes and background jobs that could not be processed. Codes: `admin_only`, `invalid_cursor`."""
    return answer(await service.page(query))


@router.get(
    _ONE,
    summary="A dead letter",
    responses={**returns(LetterDetail, "The letter as it came in"), **problems(401, 403, 404)},
)
async def letter(letter: str, staff: AdministratorLooks, service: Service) -> Response:
    """With its payload: somebody's words. Codes: `admin_only`, `unknown_dead_letter`."""
    return answer(await service.show(letter, staff=staff))


@router.post(
    _ONE + "/replay",
    summary="Send a dead letter again",
    responses={
        **returns(Replayed, "It is stored, or the job is in its queue, and the letter is gone"),
        **problems(401, 403, 404, 409),
    },
)
async def replay(letter: str, why: Annotated[WhyMaybe, Query()], staff: Administrator, service: Service) -> Response:
    """A message as its sender, with the id that it had, under the rules of now. A push goes out within a minute, to those who have not got it; a job
    goes to its queue as it was.

    Codes: `admin_only`, `unknown_dead_letter`, `unknown_message` (what was to be pushed is gone), `not_replayable`, `dead_letter` (it failed again), and those of a send.
    """
    return answer(await service.replay(letter, why.reason, staff=staff))


@router.delete(_ONE, status_code=204, summary="Throw a dead letter away", responses=problems(401, 403, 404))
async def drop(letter: str, why: Annotated[WhyMaybe, Query()], staff: Administrator, service: Service) -> Response:
    """For good. Codes: `admin_only`, `unknown_dead_letter`."""
    await service.drop(letter, why.reason, staff=staff)
    return Response(status_code=204)
