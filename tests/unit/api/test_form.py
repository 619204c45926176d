"""What every answer has: ids, trace, what is left of the rate, what browsers are to heed; CORS; examples of the OpenAPI document."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import structlog

from adapters.memory import memory_stores
from api.limits import Requests, Rule
from api.testing import Harness, running_api
from api.trace import continued
from chat.ids import new_message_id
from chat.tracing import read

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_ids_go_in_and_out_and_into_logs(api: Harness) -> None:
    async def boom() -> None:
        raise RuntimeError("unexpected")

    api.app.add_api_route("/boom", boom)
    headers = {"X-Request-Id": "from-the-phone.1", "traceparent": PARENT}
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        answer = await api.client.get("/boom", headers=headers)
    (log,) = [entry for entry in logs if entry["event"] == "request.failed"]
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "from-the-phone.1")
    version, trace, span, flags = answer.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", PARENT[3:35], "01")
    assert span != PARENT[36:52]
    assert (log["request_id"], log["trace_id"]) == ("from-the-phone.1", trace)
    own = await api.client.get("/healthz", headers={"X-Request-Id": "no\tway", "traceparent": "00-none"})
    assert re.fullmatch(r"[0-9a-f]{32}", own.headers["x-request-id"])
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", own.headers["traceparent"])


@pytest.mark.parametrize(
    "offered",
    [
        None,
        "",
        PARENT.upper(),
        PARENT + "-x",
        "ff" + PARENT[2:],
        "00-" + "0" * 32 + PARENT[35:],
        PARENT[:36] + "0" * 16 + "-01",
        PARENT[:-1],
        "x" * 10_000,
    ],
)
def test_a_trace_that_can_not_be_read_is_begun_anew(offered: str | None) -> None:
    begun = continued(read(offered))
    assert begun.trace_id != PARENT[3:35]
    assert continued(read(begun.traceparent)).trace_id == begun.trace_id


def test_a_later_version_of_trace_context_is_continued() -> None:
    assert continued(read("01" + PARENT[2:] + "-more")).trace_id == PARENT[3:35]


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}


async def test_pages_of_other_origins_are_let_in_by_name_only(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores()) as api:
        answer = await api.client.options("/v1/chats", headers={"Origin": "https://chat.example.org", **PREFLIGHT})
        assert "access-control-allow-origin" not in answer.headers
    origins = "https://chat.example.org, https://other.example.org"
    async with running_api(tmp_path / "2", memory_stores(), api_cors_origins=origins) as api:
        for origin, allowed in (("https://chat.example.org", True), ("https://evil.example.org", False)):
            answer = await api.client.options("/v1/chats", headers={"Origin": origin, **PREFLIGHT})
            assert (answer.headers.get("access-control-allow-origin") == origin) == allowed
            plain = await api.client.get("/healthz", headers={"Origin": origin})
            assert (plain.headers.get("access-control-allow-origin") == origin) == allowed
            assert "access-control-allow-credentials" not in plain.headers
        seen = (await api.client.get("/healthz", headers={"Origin": "https://chat.example.org"})).headers
        assert "ETag" in seen["access-control-expose-headers"]


async def test_what_is_left_of_the_rate_is_told(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), api_rate=0.1, api_burst=3) as api:
        haneul, bada = await api.user("haneul"), await api.user("bada")
        answers = [await haneul.get("/v1/me") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == ["r=2", "r=1", "r=0", "r=0"]
        assert answers[0].headers["ratelimit-policy"] == '"requests";q=3;w=30'
        assert answers[3].json()["code"] == "rate_limited"
        assert 1 <= int(answers[3].headers["retry-after"]) <= 10
        assert (await bada.get("/v1/me")).status_code == 200, "one does not use up what is another's"
        assert "ratelimit" not in (await api.client.get("/healthz")).headers


def test_a_bucket_fills_again() -> None:
    clock = [0.0]
    requests = Requests(Rule(2.0, 2.0), monotonic=lambda: clock[0])
    assert [requests.take("haneul")[1] for _ in range(3)] == [0.0, 0.0, 0.5]
    clock[0] = 0.5
    assert [requests.take("haneul")[1] for _ in range(2)] == [0.0, 0.5]
    clock[0] = 100.0
    standing, wait = requests.take("haneul")
    assert (standing.header, wait) == ('"requests";r=1;t=1', 0.0)


# ---- examples of the OpenAPI document


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": document["components"]}


async def test_every_example_is_what_its_schema_says(api: Harness) -> None:
    document = (await api.client.get("/openapi.json")).json()
    seen = 0
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", []):
            jsonschema.validate(example, _resolved(document, schema))
            seen += 1
        for field, one in schema.get("properties", {}).items():
            for example in one.get("examples", []):
                jsonschema.validate(example, _resolved(document, one))
                seen += 1
                assert field, name
    assert seen > 30


WITHOUT_KEY = ("/v1/auth/token", "/v1/auth/introspect", "/v1/auth/revoke", "/v1/auth/oidc/")
"""What they answer is nothing to be kept."""


async def test_every_post_takes_an_idempotency_key(api: Harness) -> None:
    document = (await api.client.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            named = [one["name"] for one in operation.get("parameters", [])]
            assert ("Idempotency-Key" in named) == (method == "post" and not path.startswith(WITHOUT_KEY)), path


async def test_examples_of_requests_are_accepted(api: Harness) -> None:
    """What the document shows of a request is a request: sent as it is, in an order in which it makes sense."""
    document = (await api.client.get("/openapi.json")).json()
    haneul, _ = await api.user("haneul"), await api.user("bada")
    chat = (await haneul.post("/v1/chats", {"kind": "group", "members": ["bada"]})).json()["id"]
    message = document["components"]["schemas"]["Send"]["examples"][0]
    accepted = {
        ("POST", f"/v1/chats/{chat}/messages", 201): message,
        ("PUT", f"/v1/chats/{chat}/cleared", 200): document["components"]["schemas"]["Cleared"]["examples"][0],
    }
    for (method, path, status), example in accepted.items():
        answer = await haneul.call(method, path, json=example)
        assert answer.status_code == status, answer.text
    where = "/v1/chats/{chat}/messages"
    shown = {p["name"]: p for p in document["paths"][where]["get"]["parameters"]}
    moments = [one for name in ("since",) for one in _examples(shown[name])]
    for moment in moments:
        assert (await haneul.get(f"/v1/chats/{chat}/messages", since=moment)).status_code == 200
    assert moments
    cursors = _examples(next(p for p in document["paths"]["/v1/sync"]["get"]["parameters"] if p["name"] == "cursor"))
    assert (await haneul.call("GET", "/v1/sync", params={"cursor": cursors[0]})).status_code == 200
    assert (await haneul.post(f"/v1/chats/{chat}/messages", {**message, "id": new_message_id()})).status_code == 201


def _examples(parameter: dict[str, Any]) -> list[Any]:
    found = parameter["schema"].get("examples") or parameter.get("examples") or []
    return list(found.values()) if isinstance(found, dict) else list(found)
