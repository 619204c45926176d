"""`/v1/auth`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Response

from api.answers import answer, returns
from api.auth.schemas import Account, Registration, Tokens
from api.auth.service import AuthService
from api.deps import TOKEN_PATH, Address, PartsDep
from api.errors import problems
from chat.errors import BadInput

router = APIRouter(tags=["auth"])


def _service(parts: PartsDep) -> AuthService:
    return AuthService(
        users=parts.stores.users,
        grants=parts.stores.grants,
        issuer=parts.issuer,
        passwords=parts.passwords,
        limits=parts.limits,
        invalidations=parts.invalidations,
    )


Service = Annotated[AuthService, Depends(_service)]


@router.post(
    "/v1/auth/register",
    status_code=201,
    summary="Register a user",
    responses={**returns(Account, "The new user", status=201), **problems(409, 413)},
)
async def register(wish: Registration, service: Service, address: Address) -> Response:
    """The handle is the user's id from now on. Codes: `handle_taken`, `invalid_id`, `invalid_request`, `rate_limited`."""
    return answer(await service.register(wish, address=address), status=201)


@router.post(
    TOKEN_PATH,
    summary="Sign in, or refresh (OAuth2 form)",
    responses={**returns(Tokens, "Tokens"), **problems(401, 413)},
)
async def token(
    service: Service,
    address: Address,
    grant_type: Annotated[str, Form(description="`password` or `refresh_token`", examples=["password"])],
    username: Annotated[str | None, Form(description="with `password`: the handle", examples=["haneul"])] = None,
    password: Annotated[
        str | None, Form(description="with `password`", json_schema_extra={"format": "password"})
    ] = None,
    refresh_token: Annotated[str | None, Form(description="with `refresh_token`: it works once")] = None,
) -> Response:
    """`grant_type=password` signs in, `grant_type=refresh_token` goes on with a sign-in.

    Other parameters are ignored (RFC 6749 §3.2). Codes: `invalid_grant` (also for a refresh token that was used before: its
    sign-in ends with that), `unsupported_grant_type`, `rate_limited`.
    """
    if grant_type == "password" and username is not None and password is not None:
        return answer(await service.sign_in(username, password, address=address))
    if grant_type == "refresh_token" and refresh_token is not None:
        return answer(await service.refresh(refresh_token, address=address))
    if grant_type in {"password", "refresh_token"}:
        raise BadInput("a parameter of this grant type is missing", code="invalid_request")
    raise BadInput("grant_type is 'password' or 'refresh_token'", code="unsupported_grant_type")
