"""What every answer carries for browsers, whatever it is about."""

from __future__ import annotations

import re

import pytest

from api.middleware import SECURITY_HEADERS
from tests.contract.api.world import World

pytestmark = pytest.mark.parametrize("stores", ["memory"], indirect=True)

ANSWERS = [
    ("GET", "/v1/me", 200),
    ("GET", "/v1/chats/none", 404),
    ("GET", "/nowhere", 404),
    ("POST", "/v1/me", 405),
    ("TRACE", "/v1/me", 405),
    ("GET", "/metrics", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/.well-known/jwks.json", 200),
    ("GET", "/.git/config", 404),
    ("GET", "/docs", 404),
    ("POST", "/v1/devices", 422),
    ("PATCH", "/v1/me", 413),
]


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
async def test_security_headers(world: World, method: str, path: str, status: int) -> None:
    body = {"content": b"x" * 300_000} if status == 413 else {}
    answer = await world.users["owner"].call(method, path, **body)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert re.fullmatch(r"application/(problem\+)?json|text/plain; .*charset=utf-8.*", answer.headers["content-type"])
    assert "set-cookie" not in answer.headers
    assert "server" not in answer.headers
    public = path.startswith("/.well-known/")
    assert answer.headers["cache-control"] == ("public, max-age=300" if public and status == 200 else "no-store")


async def test_another_origin_is_not_allowed(world: World) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        answer = await world.users["owner"].call(method, "/v1/me", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_token_in_the_address_is_none(world: World) -> None:
    """Only the header counts: addresses stand in logs and histories."""
    token = world.users["owner"].tokens["access_token"]
    for name in ("access_token", "token", "authorization", "jwt"):
        assert (await world.api.client.get("/v1/me", params={name: token})).status_code == 401
    assert (await world.api.client.get("/v1/me", headers={"Cookie": f"access_token={token}"})).status_code == 401


@pytest.mark.parametrize(
    "query", ["limit=1&limit=2", "limit=1&limit[]=2", "after=1&after=9", "limit=01e1", "limit=1.5", "limit=true"]
)
async def test_parameters_that_come_twice_or_in_another_type(world: World, query: str) -> None:
    """Never a fault of ours, and never two readers with two answers: the last of a scalar counts, everywhere."""
    answer = await world.users["owner"].get(f"/v1/chats/{world.ids['chat']}/messages?{query}")
    assert answer.status_code in {200, 422}
