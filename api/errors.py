"""Errors become problem details (RFC 9457, `application/problem+json`): the one renderer of this edge.

| field | |
|---|---|
| `type` | `urn:pabal:problem:{code}` |
| `title` | the code in words, the same for every occurrence |
| `status` | the HTTP status |
| `detail` | what happened this time, for a person |
| `code` | stable; programs decide by it |
| `instance` | the path that was asked |
| `errors` | only with `invalid_request`: the fields that are wrong, as `{"field", "message", "type"}` |
| `error`, `error_description` | only at the OAuth2 routes: what RFC 6749 §5.2 asks for |

What is not ours to show (an unexpected exception) is logged and answered as `internal` without a word of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api.refusals import Refusals
from chat.errors import Forbidden, PabalError, RateLimited, Unauthenticated, Unavailable

MEDIA_TYPE = "application/problem+json"

MAX_FIELD_ERRORS = 20
"""More wrong fields than that are not listed."""

MAX_FIELD_NAME = 200

OAUTH_PATHS = frozenset({"/v1/auth/token", "/v1/auth/revoke"})
"""Where OAuth2 libraries look for `error`."""

OAUTH_ERRORS = {"not_json": "invalid_request", "unavailable": "temporarily_unavailable", "internal": "server_error"}
"""Codes of ours that OAuth2 has another word for; what is no code of OAuth2's stays as it is."""

# Starlette's own refusals: status -> (code, detail).
_HTTP = {
    400: ("bad_request", "the request can't be read"),
    404: ("unknown_path", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not take that method; see the Allow header"),
    413: ("too_large", "the body is larger than this server takes"),
}


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="where: `body.handle`, `query.limit`, `path.chat`", examples=["body.handle"])
    message: str = Field(examples=["Field required"])
    type: str = Field(description="pydantic's name of the mistake", examples=["missing"])


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:pabal:problem:unknown_chat",
                    "title": "Unknown chat",
                    "status": 404,
                    "detail": "there is no such chat, or you are not in it",
                    "code": "unknown_chat",
                    "instance": "/v1/chats/g-1/messages",
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="stable: programs decide by it")
    instance: str
    errors: list[FieldError] | None = Field(default=None, description="with code `invalid_request` only")
    error: str | None = Field(default=None, description="at `/v1/auth/token` and `/v1/auth/revoke`: RFC 6749 §5.2")
    error_description: str | None = Field(default=None, description="likewise")


def problem(
    scope: Scope,
    *,
    status: int,
    code: str,
    detail: str,
    errors: Sequence[Mapping[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response that tells a problem."""
    body: dict[str, Any] = {
        "type": f"urn:pabal:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
        "instance": quote(scope["path"]),
    }
    if errors is not None:
        body["errors"] = errors
    if scope["path"] in OAUTH_PATHS:  # RFC 6749 §5.2, for OAuth2 libraries that know nothing of problem details
        body |= {"error": OAUTH_ERRORS.get(code, code), "error_description": detail}
    # ASCII escapes: a field name in the request may hold a lone surrogate, which UTF-8 can't.
    return Response(json.dumps(body), status, headers=headers, media_type=MEDIA_TYPE)


def of_error(scope: Scope, error: PabalError) -> Response:
    """The problem that an error of ours is."""
    return problem(scope, status=error.status, code=error.code, detail=error.reason, headers=_headers(error))


def internal(scope: Scope) -> Response:
    """The problem for what nobody expected."""
    return problem(scope, status=500, code="internal", detail="something went wrong on our side; it has been logged")


def install(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Render everything that routes and the framework raise. `api.middleware` renders what gets past them.

    Args:
        routers: of the application: their routes tell which methods a path takes.
    """
    app.state.known_routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    app.state.refusals = Refusals()
    app.add_exception_handler(PabalError, _pabal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route for OpenAPI: these problems and those that every route has.

    Args:
        statuses: HTTP statuses that this route answers beside 422, 429 and 503.
    """
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    every = sorted({*statuses, 422, 429, 503})
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in every}


def problems_of_a_body() -> dict[str, dict[str, Any]]:
    """The `responses` that every route with a body has, as OpenAPI writes them: it can't be read (not UTF-8), or is too large."""
    found = problems(400, 413)
    return {str(status): found[status] for status in (400, 413)}


def _headers(error: PabalError) -> dict[str, str]:
    if error.code == "idempotency_in_progress":
        return {"Retry-After": "1"}
    if isinstance(error, RateLimited):
        return {"Retry-After": str(max(1, math.ceil(min(error.retry_after, 3600))))}
    if isinstance(error, Unavailable):
        return {"Retry-After": "1"}
    if isinstance(error, Unauthenticated) and error.code == "invalid_client":
        return {"WWW-Authenticate": 'Basic realm="pabal"'}  # RFC 6749 §5.2
    if isinstance(error, Forbidden) and error.code == "insufficient_scope":
        return {"WWW-Authenticate": 'Bearer realm="pabal", error="insufficient_scope"'}  # RFC 6750 §3.1
    if isinstance(error, Unauthenticated):
        # RFC 6750 §3: no error code when no token was shown.
        shown = error.code in {"invalid_token", "token_expired", "signed_out"}
        return {"WWW-Authenticate": 'Bearer realm="pabal", error="invalid_token"' if shown else 'Bearer realm="pabal"'}
    return {}


async def _pabal(request: Request, error: Exception) -> Response:
    if not isinstance(error, PabalError):  # the framework's signature is wider than its promise
        raise error
    if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:  # what is our own fault is told elsewhere
        _tell(request, error.status, error.code)
    return of_error(request.scope, error)


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    not_json = any(entry["type"] == "json_invalid" for entry in found)
    _tell(request, 422, "not_json" if not_json else "invalid_request")
    if not_json:
        return problem(request.scope, status=422, code="not_json", detail="the body is not JSON")
    # The values themselves are not repeated: a password may be among them.
    errors = [
        {"field": ".".join(map(str, e["loc"]))[:MAX_FIELD_NAME], "message": str(e["msg"]), "type": str(e["type"])}
        for e in found[:MAX_FIELD_ERRORS]
    ]
    detail = f"{errors[0]['field']}: {errors[0]['message']}"
    return problem(request.scope, status=422, code="invalid_request", detail=detail, errors=errors)


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code, detail = _HTTP.get(error.status_code, (f"http_{error.status_code}", HTTPStatus(error.status_code).phrase))
    headers = dict(error.headers or {})
    _tell(request, error.status_code, code)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request)
    return problem(request.scope, status=error.status_code, code=code, detail=detail, headers=headers)


def _tell(request: Request, status: int, code: str) -> None:
    refusals: Refusals = request.app.state.refusals
    refusals.tell(request.scope, status=status, code=code)


def _allowed(request: Request) -> str:
    """Every method of the path (RFC 9110 §10.2.1): Starlette names only those of the first route that has it."""
    known: list[APIRoute] = request.app.state.known_routes
    path = request.scope["path"]
    methods = {method for route in known if route.path_regex.match(path) for method in route.methods or ()}
    return ", ".join(sorted(methods))
