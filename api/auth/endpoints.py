"""`/v1/auth`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response

from adapters.tokens import TokenVerifier
from api.answers import answer, returns
from api.auth.clients import ClientService, basic
from api.auth.schemas import Account, Introspection, PasswordChange, Registration, Tokens
from api.auth.service import AuthService
from api.deps import REVOKE_PATH, TOKEN_PATH, Address, Caller, PartsDep, requires
from api.errors import problems
from api.second_factor.endpoints import Factors
from api.second_factor.schemas import MAX_CODE
from api.sessions.endpoints import Sessions
from api.sessions.service import Origin
from api.trail import CallerTrail
from chat.errors import BadInput
from chat.models import Principal
from chat.permissions import Scope

router = APIRouter(tags=["auth"])

MAX_CLIENT = 200
"""Characters of a User-Agent that are kept."""


async def _service(parts: PartsDep, sessions: Sessions, factors: Factors) -> AuthService:
    return AuthService(
        users=parts.stores.users,
        sessions=sessions,
        factors=factors,
        verifier=TokenVerifier(parts.jwks),
        passwords=parts.passwords,
        limits=parts.limits,
        events=parts.events,
    )


async def _origin(request: Request, address: Address) -> Origin:
    client = "".join(c for c in request.headers.get("user-agent", "") if c.isprintable())
    return Origin(address=address, client=client[:MAX_CLIENT])


async def _clients(parts: PartsDep) -> ClientService:
    return ClientService(
        accounts=parts.stores.service_accounts,
        devices=parts.stores.devices,
        issuer=parts.issuer,
        verifier=TokenVerifier(parts.jwks),
        authenticator=parts.authenticator,
        limits=parts.limits,
        events=parts.events,
    )


async def _client(
    request: Request,
    client_id: Annotated[str | None, Form(description="with `client_credentials`", examples=["svc-shop"])] = None,
    client_secret: Annotated[
        str | None, Form(description="with `client_credentials`", json_schema_extra={"format": "password"})
    ] = None,
) -> tuple[str, str] | None:
    shown = basic(request.headers.get("authorization"))
    if shown is None and client_id is not None and client_secret is not None:
        return client_id, client_secret
    return shown


Service = Annotated[AuthService, Depends(_service)]
Clients = Annotated[ClientService, Depends(_clients)]
Client = Annotated[tuple[str, str] | None, Depends(_client)]
Introspector = Annotated[Principal, Depends(requires(Scope.INTROSPECT))]
From = Annotated[Origin, Depends(_origin)]


@router.post(
    "/v1/auth/register",
    status_code=201,
    summary="Register a user",
    responses={**returns(Account, "The new user", status=201), **problems(409, 413)},
)
async def register(wish: Registration, service: Service, address: Address) -> Response:
    """The handle is the user's id from now on. Codes: `handle_taken`, `invalid_id`, `invalid_request`, `weak_password`, `rate_limited`."""
    return answer(await service.register(wish, address=address), status=201)


@router.post(
    TOKEN_PATH,
    summary="Sign in, or refresh (OAuth2 form)",
    responses={**returns(Tokens, "Tokens"), **problems(401, 403, 413)},
)
async def token(
    service: Service,
    clients: Clients,
    origin: From,
    client: Client,
    grant_type: Annotated[
        str, Form(description="`password`, `refresh_token` or `client_credentials`", examples=["password"])
    ],
    username: Annotated[str | None, Form(description="with `password`: the handle", examples=["haneul"])] = None,
    password: Annotated[
        str | None, Form(description="with `password`", json_schema_extra={"format": "password"})
    ] = None,
    otp: Annotated[
        str | None,
        Form(
            max_length=MAX_CODE,
            description="with `password`, for who has a second factor: a code of the app, or a recovery code",
            json_schema_extra={"format": "password"},
        ),
    ] = None,
    refresh_token: Annotated[str | None, Form(description="with `refresh_token`: it works once")] = None,
    scope: Annotated[str | None, Form(description="with `client_credentials`: fewer scopes than it has")] = None,
) -> Response:
    """`grant_type=password` signs in, `grant_type=refresh_token` goes on with a sign-in, `grant_type=client_credentials` is for
    programs and devices: with `client_id` and `client_secret`, or HTTP Basic.

    Other parameters are ignored (RFC 6749 §3.2). Codes: `invalid_grant` (also for a refresh token that was used before: its
    sign-in ends with that), `mfa_required` (again with `otp`), `invalid_client`, `invalid_scope`, `unsupported_grant_type`, `rate_limited`.
    """
    if grant_type == "client_credentials":
        return answer(await clients.sign_in(client, scope, address=origin.address))
    if grant_type == "password" and username is not None and password is not None:
        return answer(await service.sign_in(username, password, otp=otp, origin=origin))
    if grant_type == "refresh_token" and refresh_token is not None:
        return answer(await service.refresh(refresh_token, origin=origin))
    if grant_type in {"password", "refresh_token"}:
        raise BadInput("a parameter of this grant type is missing", code="invalid_request")
    raise BadInput("grant_type is 'password', 'refresh_token' or 'client_credentials'", code="unsupported_grant_type")


@router.post(
    "/v1/auth/introspect",
    summary="Whether a token is valid (RFC 7662)",
    responses={**returns(Introspection, "What the token says, if it is valid"), **problems(401, 403, 413)},
)
async def introspect(
    caller: Introspector,
    clients: Clients,
    token: Annotated[str, Form(min_length=1, description="an access token", json_schema_extra={"format": "password"})],
) -> Response:
    """For service accounts with the scope `introspect`: a sign-in that has ended is seen at once, which the signature alone
    does not tell. Code: `insufficient_scope`.
    """
    del caller
    return answer(await clients.introspect(token))


@router.put(
    "/v1/me/password",
    status_code=204,
    summary="Change my password",
    responses=problems(401, 403, 413),
)
async def change_password(wish: PasswordChange, caller: Caller, service: Service, trail: CallerTrail) -> Response:
    """Every other sign-in ends. Codes: `wrong_password`, `weak_password`, `rate_limited`."""
    await service.change_password(wish, caller=caller, trail=trail)
    return Response(status_code=204)


@router.post(
    REVOKE_PATH,
    response_class=Response,
    summary="End a sign-in by one of its tokens (RFC 7009)",
    responses={200: {"description": "It has ended, or there was none"}, **problems(413)},
)
async def revoke(
    service: Service,
    address: Address,
    token: Annotated[
        str, Form(min_length=1, description="a refresh or access token", json_schema_extra={"format": "password"})
    ],
    token_type_hint: Annotated[
        str | None, Form(description="`refresh_token` or `access_token`; both are tried")
    ] = None,
) -> Response:
    """The whole sign-in ends, with all of its tokens and MQTT connections. A token that is none gets the same answer."""
    del token_type_hint  # a hint that is wrong must not matter (RFC 7009 §2.1)
    await service.revoke(token, address=address)
    return Response(status_code=200)
