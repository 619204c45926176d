from __future__ import annotations

import asyncio
import json
import platform
from collections.abc import AsyncIterator
from importlib.metadata import version

import pytest
from prometheus_client import CollectorRegistry, Counter

from adapters import metrics_http
from adapters.metrics_http import MetricsServer, serve


class Parts:
    def __init__(self) -> None:
        self.now: dict[str, bool] = {"mongo": True, "link": True}
        self.broken = False

    def __call__(self) -> dict[str, bool]:
        if self.broken:
            raise RuntimeError("the probe itself is broken")
        return self.now


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
async def server(parts: Parts) -> AsyncIterator[MetricsServer]:
    registry = CollectorRegistry()
    Counter("pabal_things", "Things", registry=registry).inc(3)
    running = await serve("127.0.0.1:0", registry, parts)
    yield running
    await running.close()


async def ask(server: MetricsServer, request: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the answer; the connection must end by itself."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


async def test_metrics(server: MetricsServer) -> None:
    head, body = await ask(server, b"GET /metrics?name=x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert b"text/plain; version=0.0.4" in head
    assert b"pabal_things_total 3.0" in body
    assert f"Content-Length: {len(body)}".encode() in head


async def test_healthz_tells_the_parts(server: MetricsServer, parts: Parts) -> None:
    head, body = await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body) == {"mongo": True, "link": True}
    parts.now["link"] = False
    head, body = await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert json.loads(body) == {"mongo": True, "link": False}
    parts.broken = True
    head, body = await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503")
    assert json.loads(body) == {"health": False}


async def test_head_has_no_body(server: MetricsServer) -> None:
    head, body = await ask(server, b"HEAD /healthz HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /metrics SMTP\r\n\r\n", 400),
        (b"\xff\xfe\x00 \x01 HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 400),
    ],
)
async def test_other_requests(server: MetricsServer, request_: bytes, status: int) -> None:
    head, _ = await ask(server, request_)
    assert head.startswith(b"HTTP/1.1 %d " % status)


async def test_who_says_nothing_is_cut_off(server: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_http, "REQUEST_SECONDS", 0.05)
    head, _ = await ask(server, b"GET /metr")
    assert head == b""


async def test_more_connections_than_fit_are_closed_and_room_comes_back(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_http, "MAX_CONNECTIONS", 2)
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
    await asyncio.sleep(0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.close()
    for _, open_one in idle:
        open_one.close()
    await asyncio.sleep(0.05)
    head, _ = await ask(server, b"GET /healthz HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")


async def test_close_cuts_what_is_open(parts: Parts) -> None:
    running = await serve("127.0.0.1:0", CollectorRegistry(), parts)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        await running.close()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
    writer.close()


@pytest.mark.parametrize("bind", ["", "localhost", "127.0.0.1:", "127.0.0.1:http"])
async def test_an_address_that_is_none(bind: str, parts: Parts) -> None:
    with pytest.raises(ValueError, match="host:port"):
        await serve(bind, CollectorRegistry(), parts)


async def test_what_is_below_admin_goes_to_the_handler(parts: Parts) -> None:
    asked: list[metrics_http.Request] = []

    def admin(request: metrics_http.Request) -> metrics_http.Answer:
        asked.append(request)
        if request.path == "/admin/broken":
            raise RuntimeError("a mistake")
        return metrics_http.Answer(401, "안녕".encode(), "application/json", {"WWW-Authenticate": "Bearer"})

    running = await serve("127.0.0.1:0", CollectorRegistry(), parts, admin=admin)
    head, body = await ask(running, b"DELETE /admin/a%2Fb?c=d HTTP/1.1\r\nAUTHORIZATION:  Bearer x:y \r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert b"WWW-Authenticate: Bearer" in head
    assert body.decode() == "안녕"
    assert asked == [metrics_http.Request("DELETE", "/admin/a%2Fb", "c=d", {"authorization": "Bearer x:y"})]
    head, body = await ask(running, b"GET /admin/broken HTTP/1.1\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"mistake" not in body
    assert (await ask(running, b"DELETE /metrics HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 405 ")
    assert (await ask(running, b"GET /admin HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 404 ")
    await running.close()


async def test_without_a_handler_there_is_no_admin(server: MetricsServer) -> None:
    assert (await ask(server, b"GET /admin/clients HTTP/1.1\r\n\r\n"))[0].startswith(b"HTTP/1.1 404 ")


async def test_metrics_tell_what_runs_and_which_parts_are_well(server: MetricsServer, parts: Parts) -> None:
    parts.now["link"] = False
    _, body = await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b'pabal_part_up{part="mongo"} 1.0' in body
    assert b'pabal_part_up{part="link"} 0.0' in body
    assert f'pabal_build_info{{python="{platform.python_version()}",version="{version("pabal")}"}} 1.0'.encode() in body
    parts.broken = True
    _, body = await ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert b'pabal_part_up{part="health"} 0.0' in body
    assert b'part="mongo"' not in body
