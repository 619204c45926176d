"""Every error leaves as problem details, and never says more than it should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api import errors
from api.testing import PASSWORD, Harness
from chat.errors import PabalError, RateLimited, Unauthenticated, Unavailable
from chat.ids import new_message_id

FIELDS = {"type", "title", "status", "detail", "code", "instance"}


def classes(root: type[PabalError] = PabalError) -> Iterator[type[PabalError]]:
    yield root
    for leaf in root.__subclasses__():
        yield from classes(leaf)


def checked(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) - {"errors"} == FIELDS
    assert (body["status"], body["code"], body["type"]) == (status, code, f"urn:pabal:problem:{code}")
    assert body["detail"]
    assert "errors" not in body or body["errors"]
    return body


def raising(api: Harness, error: BaseException) -> None:
    async def fail() -> None:
        raise error

    api.app.add_api_route("/fail", fail)


@pytest.mark.parametrize("kind", list(classes()))
async def test_each_error_class_is_mapped(api: Harness, kind: type[PabalError]) -> None:
    raising(api, kind("시간이 걸립니다"))
    answer = await api.client.get("/fail")
    body = checked(answer, kind.status, kind.code)
    assert body["detail"] == "시간이 걸립니다"
    assert body["instance"] == "/fail"
    assert ("www-authenticate" in answer.headers) == issubclass(kind, Unauthenticated)
    assert ("retry-after" in answer.headers) == issubclass(kind, RateLimited | Unavailable)


def test_the_tree_has_every_class_that_the_edge_knows() -> None:
    assert len(set(classes())) >= 12
    assert all(400 <= kind.status < 600 for kind in classes())


async def test_a_code_of_its_own_wins(api: Harness) -> None:
    raising(api, RateLimited("slow down", retry_after=2.1, code="flood"))
    answer = await api.client.get("/fail")
    checked(answer, 429, "flood")
    assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("after", [0.0, float("inf"), 1e300])
async def test_retry_after_is_always_a_number_of_seconds(api: Harness, after: float) -> None:
    raising(api, RateLimited("slow down", retry_after=after))
    assert 1 <= int((await api.client.get("/fail")).headers["retry-after"]) <= 3600


async def test_what_nobody_expected_says_nothing(api: Harness) -> None:
    raising(api, RuntimeError("the secret is 1234"))
    answer = await api.client.get("/fail")
    checked(answer, 500, "internal")
    assert "1234" not in answer.text
    assert answer.headers["x-request-id"]


async def test_unknown_paths_and_methods(api: Harness) -> None:
    checked(await api.client.get("/v1/nothing"), 404, "unknown_path")
    checked(await api.client.get("/v1/chats/"), 404, "unknown_path")
    checked(await api.client.get("/docs"), 404, "unknown_path")
    answer = await api.client.put("/v1/chats")
    checked(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"
    assert checked(await api.client.get("/없는/길"), 404, "unknown_path")["instance"] == "/%EC%97%86%EB%8A%94/%EA%B8%B8"


async def test_a_token_that_is_shown_and_wrong_is_named_so(api: Harness) -> None:
    without = await api.client.get("/v1/me")
    checked(without, 401, "unauthenticated")
    assert without.headers["www-authenticate"] == 'Bearer realm="pabal"'
    wrong = await api.client.get("/v1/me", headers={"Authorization": "Bearer x"})
    checked(wrong, 401, "invalid_token")
    assert wrong.headers["www-authenticate"].endswith('error="invalid_token"')
    for scheme in ("Basic dXNlcjpwYXNz", "Bearer", "bearer ", "Token x"):
        answer = await api.client.get("/v1/me", headers={"Authorization": scheme})
        assert answer.status_code == 401, scheme


GOOD = {"handle": "haneul", "password": PASSWORD, "display_name": "김하늘"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"handle": 7}, "body.handle"),
        ({"handle": None}, "body.handle"),
        ({"password": "1234567"}, "body.password"),
        ({"password": "x" * 257}, "body.password"),
        ({"password": ["x"] * 8}, "body.password"),
        ({"display_name": ""}, "body.display_name"),
        ({"display_name": "x" * 129}, "body.display_name"),
        ({"admin": True}, "body.admin"),
        ({"Handle": "x"}, "body.Handle"),
    ],
)
async def test_wrong_fields_are_listed_without_their_values(api: Harness, change: dict[str, Any], field: str) -> None:
    answer = await api.client.post("/v1/auth/register", json={**GOOD, **change})
    body = checked(answer, 422, "invalid_request")
    assert [error["field"] for error in body["errors"]] == [field]
    assert set(body["errors"][0]) == {"field", "message", "type"}
    assert PASSWORD not in answer.text
    assert "xxxx" not in answer.text
    assert await api.stores.users.get("haneul") is None


@pytest.mark.parametrize(
    "handle", ["a", "A1", "dev-1", "svc-api", "a b", "하늘", "a/b", "-ab", "x" * 33, "a\0b", "a\n"]
)
async def test_handles_that_can_not_be(api: Harness, handle: str) -> None:
    checked(await api.client.post("/v1/auth/register", json={**GOOD, "handle": handle}), 422, "invalid_id")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 422, "not_json"),
        (b"", 422, "invalid_request"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b'"text"', 422, "invalid_request"),
        (b"\xff\xfe", 422, "not_json"),
        (b"\x80abc", 400, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
        (b'{"handle": "\\ud800", "password": "12345678", "display_name": "x"}', 422, "invalid_request"),
        (b'{"handle": "ab", "password": "\\udfff\\ud800aaaaaa", "display_name": "x"}', 422, "invalid_request"),
        (b'{"\\ud800": 1}', 422, "invalid_request"),
        (json.dumps({f"field{n}": n for n in range(5000)}).encode(), 422, "invalid_request"),
        (json.dumps({"x" * 100_000: 1}).encode(), 422, "invalid_request"),
    ],
)
async def test_bodies_that_are_none(api: Harness, body: bytes, status: int, code: str) -> None:
    answer = await api.client.post("/v1/auth/register", content=body, headers={"content-type": "application/json"})
    found = checked(answer, status, code)
    assert len(found.get("errors", [])) <= errors.MAX_FIELD_ERRORS
    assert len(answer.content) < 20_000


@pytest.mark.parametrize(
    ("payload", "status", "code"),
    [
        (b"", 422, "not_json"),
        (b"hello", 422, "not_json"),
        (b"\xff", 422, "not_json"),
        (b"[]", 422, "invalid_envelope"),
        (b"[" * 50_000, 422, "invalid_envelope"),
        (b'{"id": "ID", "body": {"data": ' + b"[" * 50_000, 422, "not_json"),
        (b'{"id": 7}', 422, "invalid_envelope"),
        (b'{"id": "ID", "body": {"text": "\\ud800"}}', 422, "not_json"),
        (b'{"id": "ID", "body": {"text": "x"}, "extra": 1}', 422, "invalid_envelope"),
        (b'{"id": "ID", "body": {"text": "x", "sender": "bada"}}', 422, "invalid_envelope"),
        (b'{"id": "ID", "body": {"text": "x", "data": 1}}', 422, "invalid_envelope"),
        (b'{"id": "ID", "body": {"text": 1}}', 422, "invalid_envelope"),
        (b'{"id": "ID", "type": "void"}', 422, "invalid_envelope"),
        (b'{"id": "ID", "seq": 1, "body": {"text": "x"}}', 422, "invalid_envelope"),
        (b'{"id": "ID"}', 422, "invalid_envelope"),
        (b'{"id": "not-a-uuid", "body": {"text": "x"}}', 422, "invalid_id"),
        (b'{"body": {"text": "x"}}', 422, "invalid_envelope"),
    ],
)
async def test_messages_that_are_none(api: Harness, payload: bytes, status: int, code: str) -> None:
    haneul = await api.user("haneul")
    chat = (await haneul.post("/v1/chats", {"kind": "group"})).json()["id"]
    payload = payload.replace(b"ID", new_message_id().encode())
    answer = await haneul.call("POST", f"/v1/chats/{chat}/messages", content=payload)
    checked(answer, status, code)
    assert api.link.sent == []
