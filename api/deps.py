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
from api.limits import Limits
from api.settings import Settings
from chat.errors import Forbidden, Unauthenticated
from chat.models import Principal
from chat.ports import Invalidations, Link

TOKEN_PATH = "/v1/auth/token"  # noqa: S105 - a path
REVOKE_PATH = "/v1/auth/revoke"


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
    invalidations: Invalidations
    link: Link
    health: Callable[[], Awaitable[dict[str, bool]]]


_bearer = OAuth2PasswordBearer(
    tokenUrl=TOKEN_PATH, refreshUrl=TOKEN_PATH, scopes={"user": "chat", "admin": "administration"}, auto_error=False
)


def _parts(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)


PartsDep = Annotated[Parts, Depends(_parts)]


async def _caller(parts: PartsDep, token: Annotated[str | None, Depends(_bearer)]) -> Principal:
    if token is None:
        raise Unauthenticated("this needs an access token: Authorization: Bearer …")
    return await parts.authenticator.bearer(token)


Caller = Annotated[Principal, Depends(_caller)]
"""The signed-in user; 401 when there is none."""


async def _admin(caller: Caller) -> Principal:
    if not caller.admin:
        raise Forbidden("this is for administrators", code="admin_only")
    return caller


Admin = Annotated[Principal, Depends(_admin)]
"""The signed-in administrator; 403 for everybody else."""


def address(request: Request) -> str:
    """Where the request comes from, for limits. Proxies are believed only as far as settings say."""
    return request.client.host if request.client else "unknown"


Address = Annotated[str, Depends(address)]
