"""What routes depend on: the parts of the process, and who is calling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer

from adapters.authenticator import PolicyAuthenticator
from adapters.authority import Authority
from adapters.oidc import OidcProvider
from adapters.sealing import Seal
from adapters.stores import Stores
from adapters.tokens import Jwks, TokenIssuer
from adapters.vapid import VapidKeys
from api.auth.passwords import Passwords
from api.claims import Claim
from api.events import SecurityEvents
from api.limits import STANDING, Limits, Requests
from api.refusals import CALLER
from api.settings import Settings
from chat.admin import Connections, Processes
from chat.errors import Forbidden, RateLimited, Unauthenticated
from chat.history import Recents
from chat.models import Principal
from chat.permissions import Scope, scopes_of
from chat.ports import Invalidations, JobQueue, Link

TOKEN_PATH = "/v1/auth/token"  # noqa: S105 - a path
REVOKE_PATH = "/v1/auth/revoke"


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that `api.app` (or a test) has put together.

    Attributes:
        authority: who signs certificates of devices; None when nobody does.
        vapid: the keys by which push services of browsers know us; None: there is no Web Push.
        health: what the process needs, by name, and whether it answers now; never raises.
    """

    settings: Settings
    stores: Stores
    issuer: TokenIssuer
    jwks: Jwks
    authenticator: PolicyAuthenticator
    authority: Authority | None
    vapid: VapidKeys | None
    seal: Seal
    providers: Mapping[str, OidcProvider]
    passwords: Passwords
    events: SecurityEvents
    limits: Limits
    requests: Requests
    invalidations: Invalidations
    recents: Recents
    link: Link
    jobs: JobQueue
    health: Callable[[], Awaitable[dict[str, bool]]]
    connections: Connections
    processes: Processes


_SCOPES = {
    Scope.USER.value: "chat, as a person",
    Scope.MODERATE.value: "to keep order, as moderators do",
    Scope.ADMIN.value: "administration",
    Scope.ADMIN_READ.value: "to look at administration",
    Scope.INTROSPECT.value: "to ask about tokens",
    Scope.DEVICE.value: "a device's own credentials",
}

_bearer = OAuth2PasswordBearer(tokenUrl=TOKEN_PATH, refreshUrl=TOKEN_PATH, scopes=_SCOPES, auto_error=False)


# Coroutine functions, although they wait for nothing: FastAPI calls plain functions in a thread, and each such hop costs more than they do.
async def _parts(request: Request) -> Parts:
    return cast("Parts", request.app.state.parts)


PartsDep = Annotated[Parts, Depends(_parts)]


async def _caller(request: Request, parts: PartsDep, token: Annotated[str | None, Depends(_bearer)]) -> Principal:
    if token is None:
        raise Unauthenticated("this needs an access token: Authorization: Bearer …")
    return _admitted(request, parts, await parts.authenticator.bearer(token))


async def _claim(request: Request, parts: PartsDep, token: Annotated[str | None, Depends(_bearer)]) -> Claim:
    named = None if token is None else parts.authenticator.claimed(token)
    if named is None or parts.requests.wait(named.id):
        named = await _caller(
            request, parts, token
        )  # which refuses it: there is no token, it is no person's, or they ask too often
    return Claim(named, lambda caller: _admitted(request, parts, caller))


def _admitted(request: Request, parts: Parts, caller: Principal) -> Principal:
    """The caller, once it is known that they are who they say: within their rate, and a person."""
    _take(request, parts, caller)
    if Scope.USER not in scopes_of(caller):
        raise Forbidden("this token is not a person's", code="insufficient_scope")
    return caller


def _take(request: Request, parts: Parts, caller: Principal) -> None:
    """One request of what the caller may send."""
    setattr(request.state, CALLER, caller.id)
    standing, wait = parts.requests.take(caller.id)
    setattr(request.state, STANDING, standing)
    if wait:
        raise RateLimited("too many requests in too short a time", retry_after=wait)


Caller = Annotated[Principal, Depends(_caller)]
"""The signed-in user; 401 when there is none, 403 for devices and service accounts."""

ClaimDep = Annotated[Claim, Depends(_claim)]
"""The same for a route that finds out by itself whether the sign-in holds, with what it has to ask the database anyway."""


async def _holder(request: Request, parts: PartsDep, token: Annotated[str | None, Depends(_bearer)]) -> Principal:
    if token is None:
        raise Unauthenticated("this needs an access token: Authorization: Bearer …")
    holder = await parts.authenticator.bearer(token)
    _take(request, parts, holder)
    return holder


Holder = Annotated[Principal, Depends(_holder)]
"""Whoever shows a valid token: a user, a device or a service account. What it opens is the route's question."""


def requires(*scopes: Scope) -> Callable[[Principal], Awaitable[Principal]]:
    """A dependency: whoever calls with one of these scopes; 403 for others. (`api.admin.access` asks for those of administration.)"""

    async def admitted(holder: Holder) -> Principal:
        if scopes_of(holder).isdisjoint(scopes):
            raise insufficient_scope(*scopes)
        return holder

    return admitted


def insufficient_scope(*scopes: Scope) -> Forbidden:
    """The answer for a token that does not open what was asked for."""
    return Forbidden(f"this needs a token with the scope {' or '.join(scopes)}", code="insufficient_scope")


def address_of(request: Request) -> str:
    """Where the request comes from, for limits. Proxies are believed only as far as settings say."""
    return request.client.host if request.client else "unknown"


async def address(request: Request) -> str:
    """The same, for a route that asks for it: not a plain function, which would run in a thread of its own."""
    return address_of(request)


Address = Annotated[str, Depends(address)]
