"""`/v1/me/second-factor`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.answers import answer, returns
from api.deps import Caller, PartsDep
from api.errors import problems
from api.second_factor.schemas import Begin, Code, FactorState, NewFactor, RecoveryCodes, Remove
from api.second_factor.service import SecondFactors
from api.trail import CallerTrail

router = APIRouter(tags=["sessions"])
_PATH = "/v1/me/second-factor"


async def second_factors(parts: PartsDep) -> SecondFactors:
    """The service on the parts of this process."""
    return SecondFactors(
        factors=parts.stores.second_factors,
        users=parts.stores.users,
        passwords=parts.passwords,
        limits=parts.limits,
        seal=parts.seal,
        events=parts.events,
    )


Factors = Annotated[SecondFactors, Depends(second_factors)]


@router.get(
    _PATH,
    summary="Whether I have a second factor",
    responses={**returns(FactorState, "Whether it is on"), **problems(401)},
)
async def state(caller: Caller, service: Factors) -> Response:
    """One that is begun and not confirmed is not on."""
    return answer(await service.state(caller))


@router.post(
    _PATH,
    status_code=201,
    summary="Begin with a second factor",
    responses={**returns(NewFactor, "What the authenticator app is told", status=201), **problems(401, 403, 409, 413)},
)
async def begin(wish: Begin, caller: Caller, service: Factors, trail: CallerTrail) -> Response:
    """Shown once; it counts when it is confirmed. Codes: `wrong_password`, `second_factor_on`."""
    return answer(await service.begin(wish, caller=caller, trail=trail), status=201)


@router.post(
    _PATH + "/confirm",
    summary="Confirm my second factor",
    responses={**returns(RecoveryCodes, "It is on; keep these"), **problems(401, 403, 404, 413)},
)
async def confirm(wish: Code, caller: Caller, service: Factors, trail: CallerTrail) -> Response:
    """From now on `grant_type=password` needs `otp`. Codes: `wrong_code`, `no_second_factor`."""
    return answer(await service.confirm(wish, caller=caller, trail=trail))


@router.post(
    _PATH + "/remove", status_code=204, summary="Remove my second factor", responses=problems(401, 403, 404, 413)
)
async def remove(wish: Remove, caller: Caller, service: Factors, trail: CallerTrail) -> Response:
    """Needs the password and a code, so that a borrowed phone is not enough. Codes: `wrong_password`, `wrong_code`,
    `no_second_factor`.
    """
    await service.remove(wish, caller=caller, trail=trail)
    return Response(status_code=204)
