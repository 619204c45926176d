"""`/v1/announcements`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.announcements.schemas import AnnouncementPage, AnnouncementsQuery
from api.announcements.service import AnnouncementService
from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems

router = APIRouter(tags=["users"])


async def _service(parts: PartsDep) -> AnnouncementService:
    return AnnouncementService(parts.stores.broadcasts)


Service = Annotated[AnnouncementService, Depends(_service)]


@router.get(
    "/v1/announcements",
    summary="What was told to everybody",
    responses={**returns(AnnouncementPage, "Announcements, newest first"), **problems(401)},
)
async def announcements(query: Annotated[AnnouncementsQuery, Query()], _caller: Caller, service: Service) -> Response:
    """They come on `users/{user}/inbox` too, for who has a session there; by their ids it is known what has been seen. Code: `invalid_cursor`."""
    return answer(await service.page(query))
