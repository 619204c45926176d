"""`/v1/auth/oidc`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from api.answers import answer, returns
from api.auth.endpoints import From
from api.auth.schemas import Tokens
from api.deps import Address, PartsDep
from api.errors import problems
from api.oidc.schemas import Finish, Providers, Start, Started
from api.oidc.service import OidcService
from api.sessions.endpoints import Sessions

router = APIRouter(tags=["auth"])


async def _service(parts: PartsDep, sessions: Sessions) -> OidcService:
    return OidcService(
        providers=parts.providers, users=parts.stores.users, sessions=sessions, limits=parts.limits, seal=parts.seal
    )


Service = Annotated[OidcService, Depends(_service)]
Name = Annotated[str, Path(max_length=64, examples=["corp"])]


@router.get(
    "/v1/auth/oidc",
    summary="OpenID providers",
    responses={**returns(Providers, "Names of those that may be used"), **problems()},
)
async def providers(service: Service) -> Response:
    """None, unless the operator has named some."""
    return answer(service.names())


@router.post(
    "/v1/auth/oidc/{provider}/start",
    summary="Begin a login at an OpenID provider",
    responses={**returns(Started, "Where the person goes"), **problems(404, 413)},
)
async def start(provider: Name, wish: Start, service: Service, address: Address) -> Response:
    """Codes: `unknown_provider`, `unknown_redirect`."""
    return answer(await service.start(provider, wish, address=address))


@router.post(
    "/v1/auth/oidc/{provider}/finish",
    summary="Finish a login at an OpenID provider",
    responses={**returns(Tokens, "Tokens of a user, who may be new"), **problems(401, 404, 409, 413)},
)
async def finish(provider: Name, wish: Finish, service: Service, origin: From) -> Response:
    """Within ten minutes. Codes: `invalid_login`, `oidc_refused`, `handle_taken`, `invalid_id`, `unknown_provider`."""
    return answer(await service.finish(provider, wish, origin=origin))
