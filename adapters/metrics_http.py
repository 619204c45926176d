"""`/metrics` (Prometheus text) and `/healthz` (JSON) for processes that have no web framework.

One request per connection, GET and HEAD only: a scraper and a probe need no more. It listens on a port of its own, which
is meant for the operator's network.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

Health = Callable[[], dict[str, bool]]
"""The parts of a process that must be well, by name. Called for each probe, on the event loop: it must not block."""

MAX_REQUEST_BYTES = 8 * 1024
MAX_CONNECTIONS = 64
"""More than this many at once are closed unread: one Prometheus and one probe need two."""
REQUEST_SECONDS = 5.0
RESPONSE_SECONDS = 10.0

_log = structlog.get_logger("metrics_http")
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


class MetricsServer:
    """A running endpoint; made by `serve`."""

    def __init__(self, registry: CollectorRegistry, health: Health) -> None:
        self._registry = registry
        self._health = health
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
        method, path = _request_line(head)
        answer = self._answer(method, path)
        writer.write(_render(answer, head_only=method == "HEAD"))
        async with asyncio.timeout(RESPONSE_SECONDS):
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    def _answer(self, method: str, path: str) -> _Answer:
        if not method:
            return _Answer(400, b"not an HTTP request that is served here\n")
        if method not in ("GET", "HEAD"):
            return _Answer(405, b"only GET and HEAD\n")
        if path == "/metrics":
            return _Answer(200, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)
        if path == "/healthz":
            return self._health_answer()
        return _Answer(404, b"/metrics or /healthz\n")

    def _health_answer(self) -> _Answer:
        try:
            parts = self._health()
        except Exception:  # noqa: BLE001 - any fault of a probe is an answer: not well
            _log.exception("health.failed")
            parts = {"health": False}
        return _Answer(200 if all(parts.values()) else 503, json.dumps(parts).encode(), "application/json")


async def serve(bind: str, registry: CollectorRegistry, health: Health) -> MetricsServer:
    """Serve `/metrics` of `registry` and `/healthz` until `close()`.

    `/healthz` answers 200 when every part is true, else 503; the JSON body holds the parts.

    Args:
        bind: `host:port`, `[::1]:port` for IPv6; port 0 takes any free one (see `MetricsServer.port`).
        registry: what to expose.
        health: see `Health`.

    Raises:
        OSError: the address can't be bound.
        ValueError: `bind` is not `host:port`.
    """
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"an address to listen on is host:port, not {bind!r}")
    server = MetricsServer(registry, health)
    await server.start(host.strip("[]") or "127.0.0.1", int(port))
    return server


def _request_line(head: bytes) -> tuple[str, str]:
    """Method and path without its query; two empty words when it is no HTTP/1 request."""
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return "", ""
    return words[0], words[1].partition("?")[0]


def _render(answer: _Answer, *, head_only: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else answer.body)
