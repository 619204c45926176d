"""`python -m api`: serve until SIGTERM or SIGINT, then let the requests under way finish and exit 0."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, nullcontext
from typing import Literal

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import ValidationError
from starlette.types import ASGIApp

from adapters import garbage
from adapters.logging import configure
from adapters.tracing import TracesImpossible
from api.app import create_app, open_parts
from api.deps import Parts
from api.internal.app import create_hooks
from api.settings import Settings, explain
from chat.errors import PabalError

GRACE = 10
"""Seconds that requests under way have when the process is told to end."""

KEEP_ALIVE = 75
"""Seconds that an idle connection stays: longer than the minute after which common proxies let go."""


_log = structlog.get_logger("api")


class _Server(uvicorn.Server):
    """uvicorn without its habit of raising the signal again at the end, which would make a wanted end look like a crash."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


class _HooksServer(uvicorn.Server):
    """The one for other brokers: it ends with the other."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> int:
    """Open the parts, then serve: a part that can't be opened is one line in the log, not a server that dies starting.

    Returns:
        the exit code.
    """
    try:
        async with open_parts(settings) as parts:
            app = create_app(settings, opened=lambda _: nullcontext(parts))
            server = _Server(_config(settings, app, settings.bind))
            garbage.rarely()
            async with _hooks(settings, parts, app):
                await server.serve()
    except PabalError as error:
        _log.error("api.not_started", reason=error.reason)
        return 1
    except TracesImpossible as error:
        _log.error("api.not_started", reason=str(error))
        return 1
    return 0 if server.started else 1


@asynccontextmanager
async def _hooks(settings: Settings, parts: Parts, app: FastAPI) -> AsyncIterator[None]:
    """The auth hooks answer as long as the block runs, if there is an address for them."""
    if settings.hooks_bind is None:
        yield
        return
    hooks = create_hooks(parts, app.state.registry)
    server = _HooksServer(_config(settings, hooks, settings.hooks_bind, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait({serving})


def _config(
    settings: Settings, app: ASGIApp, bind: tuple[str, int], *, lifespan: Literal["on", "off"] = "on"
) -> uvicorn.Config:
    host, port = bind
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http="httptools",
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.api_forwarded_allow_ips),
        forwarded_allow_ips=settings.api_forwarded_allow_ips,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


def main() -> int:
    """Run the process.

    Returns:
        its exit code: 0 after a wanted end, 1 when it could not start.
    """
    try:
        settings = Settings()
        configure(settings.log_level, settings.log_format, "api")
    except ValidationError as error:
        sys.stderr.write(f"api: {explain(error)}\n")
        return 1
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings))


if __name__ == "__main__":
    sys.exit(main())
