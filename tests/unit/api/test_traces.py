"""Requests of an api that records traces."""

from __future__ import annotations

import httpx
import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from adapters.memory.tracing import MemoryTracer
from adapters.tracing import outgoing
from api.middleware import RequestContext, RequestMetrics
from chat.tracing import TraceContext, read

CALLER = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True, state="a=1")


def client(tracer: MemoryTracer) -> httpx.AsyncClient:
    app = FastAPI()

    @app.get("/chats/{chat}")
    async def one(chat: str) -> dict[str, str]:
        if chat == "broken":
            raise RuntimeError("비밀")
        return outgoing() or {}

    @app.get("/threads/{chat}")
    def in_a_thread(chat: str) -> dict[str, str]:
        del chat
        return outgoing() or {}

    outermost = RequestContext(app, metrics=RequestMetrics(CollectorRegistry()), max_requests=9, tracer=tracer)
    return httpx.AsyncClient(transport=httpx.ASGITransport(outermost), base_url="http://api")


async def test_a_request_is_a_span_and_what_it_sends_goes_on_from_it() -> None:
    tracer = MemoryTracer(0.0)
    async with client(tracer) as http:
        for path in ("chats", "threads"):
            answer = await http.get(f"/{path}/g-secret?token=t", headers=CALLER.headers)
            span = tracer.ended[-1]
            assert answer.json() == span.context.headers
            assert read(answer.headers["traceparent"]) == span.context._replace(state="")
            assert (span.name, span.parent, span.error) == (f"GET /{path}/{{chat}}", CALLER.span_id, None)
            assert span.attributes["http.response.status_code"] == 200
    assert "secret" not in str(tracer.ended)
    assert "token" not in str(tracer.ended)


async def test_a_fault_of_ours_is_told_by_its_status_and_the_log_names_the_trace() -> None:
    tracer = MemoryTracer(1.0)
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        async with client(tracer) as http:
            assert (await http.get("/chats/broken")).status_code == 500
            assert (await http.request("INVENTED", "/nowhere")).status_code == 404
    broken, nowhere = tracer.ended
    assert (broken.name, broken.parent, broken.error) == ("GET /chats/{chat}", "", "500")
    assert (nowhere.name, nowhere.error) == ("other unmatched", None)
    assert "비밀" not in str(broken)
    (log,) = [entry for entry in logs if entry["event"] == "request.failed"]
    assert log["trace_id"] == broken.context.trace_id


async def test_what_is_not_recorded_is_answered_as_without_traces() -> None:
    tracer = MemoryTracer(0.0)
    async with client(tracer) as http:
        for headers in ({}, CALLER._replace(sampled=False).headers, {"traceparent": "00-no"}):
            answer = await http.get("/chats/g", headers=headers)
            assert answer.json() == {}
            assert answer.headers["traceparent"].endswith("-00")
    assert list(tracer.ended) == []
