"""`/v1/me/sessions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from api.answers import answer, returns
from api.deps import Address, Caller, PartsDep
from api.errors import problems
from api.sessions.schemas import SessionList
from api.sessions.service import SessionService

router = APIRouter(tags=["sessions"])


async def sessions_of(parts: PartsDep) -> SessionService:
    """The service on the parts of this process."""
    return SessionService(
        users=parts.stores.users,
        grants=parts.stores.grants,
        issuer=parts.issuer,
        invalidations=parts.invalidations,
        events=parts.events,
        max_sessions=parts.settings.api_max_sessions,
    )


Sessions = Annotated[SessionService, Depends(sessions_of)]


@router.get(
    "/v1/me/sessions",
    summary="Where I am signed in",
    responses={**returns(SessionList, "Sign-ins, the last used first"), **problems(401)},
)
async def sessions(caller: Caller, service: Sessions) -> Response:
    """All that live: bounded, so there are no pages."""
    return answer(await service.owned(caller))


@router.delete(
    "/v1/me/sessions/{session}",
    status_code=204,
    summary="Sign out, here or elsewhere",
    responses=problems(401, 404),
)
async def end(
    session: Annotated[str, Path(max_length=64, description="an id of the list, or `current`")],
    caller: Caller,
    service: Sessions,
    address: Address,
) -> Response:
    """Its tokens end, and its MQTT connections with them. Code: `unknown_session`, also for other people's."""
    await service.end_own(session, caller=caller, address=address)
    return Response(status_code=204)


@router.delete("/v1/me/sessions", status_code=204, summary="Sign out everywhere else", responses=problems(401))
async def end_all(
    caller: Caller,
    service: Sessions,
    address: Address,
    current: Annotated[bool, Query(description="end the sign-in that asks, too")] = False,
) -> Response:
    """All sign-ins end but the one that asks."""
    ended = await service.end_all(caller.id, keep=None if current else caller.sid)
    service.events.happened("auth.signed_out", by=caller.id, address=address, count=str(ended))
    return Response(status_code=204)
