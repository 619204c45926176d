"""What routes depend on: the parts of the process, and who is calling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer

from adapters.authenticator import PolicyAuthenticator
from adapters.stores import Stores
from adapters.tokens import Jwks, TokenIssuer
from api.auth.passwords import Passwords
from api.limits import STANDING, Limits, Requests
from api.settings import Settings
from chat.admin import Connections, Processes
from chat.errors import RateLimited, Unauthenticated
from chat.history import Recents
from chat.models import Principal
from chat.ports import Invalidations, Link

TOKEN_PATH = "/v1/auth/token"  # noqa: S105 - a path


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that `api.app` (or a test) has put together.

    Attributes:
        health: what the process needs, by name, and whether it answers now; never raises.
    """

    settings: Settings
    stores: Stores
    issuer: TokenIssuer
    jwks: Jwks
    authenticator: PolicyAuthenticator
    passwords: Passwords
    limits: Limits
    requests: Requests
    invalidations: Invalidations
    recents: Recents
    link: Link
    health: Callable[[], Awaitable[dict[str, bool]]]
    connections: Connections
    processes: Processes


_bearer = OAuth2PasswordBearer(
    tokenUrl=TOKEN_PATH, refreshUrl=TOKEN_PATH, scopes={"user": "chat", "admin": "administration"}, auto_error=False
)


# Coroutine functions, although they wait for nothing: FastAPI calls plain functions in a thread, and each such hop costs more than they do.
async def _parts(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)


PartsDep = Annotated[Parts, Depends(_parts)]


async def _caller(request: Request, parts: PartsDep, token: Annotated[str | None, Depends(_bearer)]) -> Principal:
    if token is None:
        raise Unauthenticated("this needs an access token: Authorization: Bearer …")
    principal = await parts.authenticator.bearer(token)
    standing, wait = parts.requests.take(principal.id)
    setattr(request.state, STANDING, standing)
    if wait:
        raise RateLimited("too many requests in too short a time", retry_after=wait)
    return principal


Caller = Annotated[Principal, Depends(_caller)]
"""The signed-in user; 401 when there is none."""


def address_of(request: Request) -> str:
    """Where the request comes from, for limits. Proxies are believed only as far as settings say."""
    return request.client.host if request.client else "unknown"


async def address(request: Request) -> str:
    """The same, for a route that asks for it: not a plain function, which would run in a thread of its own."""
    return address_of(request)


Address = Annotated[str, Depends(address)]
