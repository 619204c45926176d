"""What stands round every request: its ids, a bound on how many there are, a bound on their bodies, figures, what browsers are to heed, and the
last net.

Plain ASGI: Starlette's `BaseHTTPMiddleware` costs a task per request.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.tracing import within
from api import errors, trace
from api.limits import STANDING, Standing
from chat.tracing import TRACEPARENT, Tracer

REQUEST_ID = "X-Request-Id"

ALLOWED_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", REQUEST_ID, TRACEPARENT)
EXPOSED_HEADERS = (
    "ETag",
    "Location",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "Idempotency-Replayed",
    REQUEST_ID,
    TRACEPARENT,
)
"""What pages of other origins may send and see."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Answers are data: a browser that is led here shows, runs and embeds nothing.
    "Content-Security-Policy": "default-src 'none'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # Browsers heed it over HTTPS only, so a proxy that ends TLS needs to add nothing.
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
}
"""On every answer, unless the route has said otherwise."""

_UNLESS_SAID = [
    (name.lower().encode(), value.encode()) for name, value in {**SECURITY_HEADERS, "Cache-Control": "no-store"}.items()
]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger("api")


class RequestMetrics:
    """Figures of the requests; `route` is the pattern (`/v1/chats/{chat}`), never a path with ids in it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self.requests = Counter("pabal_api_requests", "Requests answered", labels, registry=registry)
        self.seconds = Histogram(
            "pabal_api_request_seconds",
            "Seconds from the request's head to the answer's last byte",
            ("method", "route"),
            buckets=(0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self.under_way = Gauge("pabal_api_requests_under_way", "Requests under way", registry=registry)
        self.refused = Counter("pabal_api_requests_refused", "Requests beyond the bound", registry=registry)
        self._of: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def answered(self, method: str, route: str, status: str, seconds: float) -> None:
        """Count one answer. The time series are looked for once: the library's own way to them costs more than the counting."""
        found = self._of.get((method, route, status))
        if found is None:
            found = self.requests.labels(method, route, status), self.seconds.labels(method, route)
            self._of[method, route, status] = found
        found[0].inc()
        found[1].observe(seconds)


class RequestContext:
    """Outermost: gives the request its id, counts it, and answers what nobody caught.

    Args:
        app: what it stands round.
        metrics: where to count.
        max_requests: how many may be under way at once.
        tracer: records requests; None: nothing is recorded.
    """

    def __init__(
        self, app: ASGIApp, *, metrics: RequestMetrics, max_requests: int, tracer: Tracer | None = None
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._max_requests = max_requests
        self._tracer = tracer
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, self._tracer)
        ids = {"request_id": exchange.request_id, "trace_id": exchange.trace.trace_id}
        self._count(1)
        try:
            with structlog.contextvars.bound_contextvars(**ids), within(exchange.span):
                await self._answer(scope, receive, exchange)
        finally:
            self._count(-1)
            self._measure(scope, exchange)

    async def _answer(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        if self._under_way > self._max_requests:
            self._metrics.refused.inc()
            busy = errors.problem(
                scope, status=503, code="busy", detail="too many requests at once", headers={"Retry-After": "1"}
            )
            await busy(scope, receive, exchange.send)
            return
        try:
            await self._app(scope, receive, exchange.send)
        except Exception:  # noqa: BLE001 - the last net: logged with its traceback, answered without a word of it
            _log.exception("request.failed", method=scope["method"], route=_route(scope))
            if exchange.status is None:
                await errors.internal(scope)(scope, receive, exchange.send)

    def _count(self, change: int) -> None:
        self._under_way += change
        self._metrics.under_way.set(self._under_way)

    def _measure(self, scope: Scope, exchange: _Exchange) -> None:
        method, route, status = _method(scope), _route(scope), exchange.status or 499  # nginx's: the client went away
        self._metrics.answered(method, route, str(status), time.perf_counter() - exchange.began)
        if exchange.span is not None:
            trace.ended(exchange.span, method, route, status)


class _Exchange:
    """One answer on its way out."""

    def __init__(self, scope: Scope, send: Send, tracer: Tracer | None) -> None:
        headers = Headers(scope=scope)
        self.request_id = _request_id(headers)
        offered = trace.offered(headers)
        self.span = trace.begun(tracer, _method(scope), offered)
        self.trace = self.span.context if self.span is not None else trace.continued(offered)
        self._state: MutableMapping[str, Any] = scope.setdefault("state", {})
        self.began = time.perf_counter()
        self.status: int | None = None
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            message["headers"] = self._with_ours(message.get("headers", ()))
        await self._send(message)

    def _with_ours(self, said: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The route's headers and those that stand on every answer, by hand: `MutableHeaders` looks through all of them for each."""
        headers = list(said)
        names = {name for name, _ in headers}
        headers += [(name, value) for name, value in _UNLESS_SAID if name not in names]
        headers += [(b"x-request-id", self.request_id.encode()), (b"traceparent", self.trace.traceparent.encode())]
        standing: Standing | None = self._state.get(STANDING)
        if standing is not None:
            headers += [(b"ratelimit-policy", standing.policy.encode()), (b"ratelimit", standing.header.encode())]
        return headers


class BodyLimit:
    """Refuses bodies over `max_bytes` with 413: by their announced length, or once so much has come.

    Args:
        app: what it stands round.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            detail = f"a body has at most {self._max_bytes} bytes"
            await errors.problem(scope, status=413, code="too_large", detail=detail)(scope, receive, send)
            return
        seen = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise HTTPException(413)  # FastAPI passes only its own kind on from here
            return message

        await self._app(scope, counted, send)


def cors(app: FastAPI, origins: str) -> None:
    """Let pages of some origins call the api; nobody's when there is none. Tokens travel in a header, so no cookies are let through.

    Args:
        origins: with commas; `*` for all.
    """
    allowed = [origin.strip() for origin in origins.split(",") if origin.strip()]
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
        )


def _request_id(headers: Headers) -> str:
    offered = headers.get(REQUEST_ID, "")
    return offered if _REQUEST_ID.fullmatch(offered) else secrets.token_hex(16)


_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})


def _method(scope: Scope) -> str:
    """The method as a label: an invented one must not make a new time series."""
    return str(scope["method"]) if scope["method"] in _METHODS else "other"


def _route(scope: Scope) -> str:
    """The pattern that matched, as a label."""
    return str(getattr(scope.get("route"), "path", "unmatched"))
