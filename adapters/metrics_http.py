"""`/metrics` (Prometheus text), `/healthz` and `/settings` (JSON) for processes that have no web framework.

One request per connection, GET and HEAD only: a scraper and a probe need no more. It listens on a port of its own, which
is meant for the operator's network. What stands below `/admin/` is handed to a handler, if the process has one: it decides who may
do what, also with DELETE. Request bodies are never read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from adapters.vitals import Vitals

Health = Callable[[], dict[str, bool]]
"""The parts of a process that must be well, by name. Called for each probe, on the event loop: it must not block."""

MAX_REQUEST_BYTES = 8 * 1024
MAX_CONNECTIONS = 64
"""More than this many at once are closed unread: one Prometheus and one probe need two."""
REQUEST_SECONDS = 5.0
RESPONSE_SECONDS = 10.0

_log = structlog.get_logger("metrics_http")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `path` and `query` are still percent-encoded; names of `headers` are in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; `headers` beside those that every answer has."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Answer]
"""Answers what is below `ADMIN`. Called on the event loop: it must not block."""

ADMIN = "/admin/"

Settings = Callable[[], dict[str, str]]
"""The settings that a process goes by, without secrets (`adapters.settings_view`)."""


class MetricsServer:
    """A running endpoint; made by `serve`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        health: Health,
        admin: Handler | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._registry = registry
        self._vitals = Vitals(registry)
        self._health = health
        self._admin = admin
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """The port that it listens on (of use when it was asked for port 0)."""
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the metrics server is not running")
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address can't be bound.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=MAX_REQUEST_BYTES)

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            await self._exchange(reader, writer)
        except (TimeoutError, OSError):
            writer.transport.abort()
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = b""
        request = _parse(head)
        answer = self._answer(request)
        writer.write(_render(answer, head_only=request is not None and request.method == "HEAD"))
        async with asyncio.timeout(RESPONSE_SECONDS):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _answer(self, request: Request | None) -> Answer:
        if request is None:
            return Answer(400, b"not an HTTP request that is served here\n")
        if self._admin is not None and request.path.startswith(ADMIN):
            return self._admin_answer(self._admin, request)
        if request.method not in ("GET", "HEAD"):
            return Answer(405, b"only GET and HEAD\n")
        if request.path == "/metrics":
            self._vitals.show(self._parts())
            return Answer(200, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)
        if request.path == "/healthz":
            return self._health_answer()
        if request.path == "/settings" and self._settings is not None:
            return Answer(200, json.dumps(self._settings()).encode(), "application/json")
        return Answer(404, b"/metrics or /healthz\n")

    @staticmethod
    def _admin_answer(admin: Handler, request: Request) -> Answer:
        try:
            return admin(request)
        except Exception:  # noqa: BLE001 - the asker is told no more than that it failed
            _log.exception("admin.failed")
            return Answer(500, b"internal error\n")

    def _parts(self) -> dict[str, bool]:
        try:
            return self._health()
        except Exception:  # noqa: BLE001 - any fault of a probe is an answer: not well
            _log.exception("health.failed")
            return {"health": False}

    def _health_answer(self) -> Answer:
        parts = self._parts()
        return Answer(200 if all(parts.values()) else 503, json.dumps(parts).encode(), "application/json")


async def serve(
    bind: str,
    registry: CollectorRegistry,
    health: Health,
    *,
    admin: Handler | None = None,
    settings: Settings | None = None,
) -> MetricsServer:
    """Serve `/metrics` of `registry` and `/healthz` until `close()`.

    `/healthz` answers 200 when every part is true, else 503; the JSON body holds the parts.

    Args:
        bind: `host:port`, `[::1]:port` for IPv6; port 0 takes any free one (see `MetricsServer.port`).
        registry: what to expose; `adapters.vitals` is added to it.
        health: see `Health`.
        admin: see `Handler`; None when there is nothing below `/admin/`.
        settings: see `Settings`; None when they are not shown.

    Raises:
        OSError: the address can't be bound.
        ValueError: `bind` is not `host:port`.
    """
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"an address to listen on is host:port, not {bind!r}")
    server = MetricsServer(registry, health, admin, settings)
    await server.start(host.strip("[]") or "127.0.0.1", int(port))
    return server


def _parse(head: bytes) -> Request | None:
    """The request; None when it is no HTTP/1 request."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    path, _, query = words[1].partition("?")
    pairs = (line.partition(":") for line in lines if line)
    return Request(words[0], path, query, {name.strip().lower(): value.strip() for name, _, value in pairs})


def _render(answer: Answer, *, head_only: bool) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Connection: close\r\n{more}\r\n"
    )
    return head.encode() + (b"" if head_only else answer.body)
