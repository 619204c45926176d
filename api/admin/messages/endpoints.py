"""`/v1/admin/messages`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from api.admin.access import Moderator
from api.admin.messages.schemas import Moderated
from api.admin.messages.service import MessageAdmin
from api.admin.users.schemas import WhyQuery
from api.answers import answer, returns
from api.deps import PartsDep
from api.errors import problems

router = APIRouter(tags=["administration"])


async def _service(parts: PartsDep) -> MessageAdmin:
    return MessageAdmin(parts.stores.messages, parts.link, parts.settings.api_send_timeout)


Service = Annotated[MessageAdmin, Depends(_service)]


@router.delete(
    "/v1/admin/messages/{message}",
    summary="Delete a message for everyone",
    responses={**returns(Moderated, "It is deleted"), **problems(401, 403, 404)},
)
async def delete(message: str, why: Annotated[WhyQuery, Query()], staff: Moderator, service: Service) -> Response:
    """For moderators: any message of any chat, whoever sent it and whenever. The chat is told, as of every deletion.

    Codes: `admin_only`, `unknown_message`, `unavailable`.
    """
    return answer(await service.delete(message, why.reason, staff=staff))
