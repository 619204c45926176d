"""The trace that a request belongs to, so that one search finds it in the logs of all who had to do with it, and its span, if that is recorded."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from chat.tracing import TRACEPARENT, TRACESTATE, Kind, Span, TraceContext, Tracer, read


def offered(headers: Mapping[str, str]) -> TraceContext | None:
    """What the caller says of it; None when that is not well-formed."""
    return read(headers.get(TRACEPARENT), headers.get(TRACESTATE))


def continued(of_caller: TraceContext | None) -> TraceContext:
    """Our part of the caller's trace, or of a new one, where nothing is recorded."""
    if of_caller is None:
        return TraceContext(secrets.token_hex(16), secrets.token_hex(8), sampled=False)
    return of_caller._replace(span_id=secrets.token_hex(8))


def begun(tracer: Tracer | None, method: str, of_caller: TraceContext | None) -> Span | None:
    """The span of a request, if it is to be recorded."""
    if tracer is None:
        return None
    return tracer.enter(method, Kind.SERVER, of_caller, {"http.request.method": method})


def ended(span: Span, method: str, route: str, status: int) -> None:
    """The request is answered. Its route is told as a pattern, never its path or query: they may hold a secret."""
    span.rename(f"{method} {route}")
    span.set("http.route", route)
    span.set("http.response.status_code", status)
    if status >= 500:
        span.fail(str(status))
    span.end()
