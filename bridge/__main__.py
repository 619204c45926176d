"""`python -m bridge`: run until SIGTERM or SIGINT, then drain. Settings: environment variables, see `bridge.settings`."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial

import structlog
import uvloop
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from adapters import garbage
from adapters.backoff import Backoff
from adapters.jobs import CeleryJobQueue
from adapters.logging import configure
from adapters.metrics_http import serve
from adapters.mongo import Stores, open_stores
from adapters.mqtt_link import MqttLink, instance_name
from adapters.settings_view import visible
from adapters.tracing import TracesImpossible, open_tracer
from adapters.valkey import ValkeyInvalidations, ValkeyPresence, ValkeyPushProgress, ValkeyRateLimiter, connect
from bridge.app import Bridge
from bridge.filters.lists import ListBroken
from bridge.settings import Settings
from chat.errors import Unavailable

PRINCIPAL = "svc-bridge"

_log = structlog.get_logger("bridge")


def main() -> int:
    """Run the bridge; the exit code."""
    try:
        settings = Settings()
        secret = settings.link_secret_file.read_text().strip()
    except (ValidationError, OSError) as error:
        sys.stderr.write(f"bridge: {error}\n")
        return 2
    configure(settings.log_level, settings.log_format, "bridge")
    try:
        uvloop.run(_run(settings, secret))
    except (ListBroken, TracesImpossible) as error:
        sys.stderr.write(f"bridge: {error}\n")
        return 2
    except (OSError, ExceptionGroup):
        _log.exception("bridge.failed")
        return 1
    return 0


async def _run(settings: Settings, secret: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        stores = await _open_stores(settings, stop)
        if stores is None:
            return
        stack.push_async_callback(stores.close)
        valkey = connect(settings.valkey_url)
        stack.push_async_callback(valkey.aclose)
        tracer = open_tracer(settings, "bridge", registry)
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        jobs = CeleryJobQueue(settings.valkey_url, registry=registry)
        stack.push_async_callback(asyncio.to_thread, jobs.close)
        instance = settings.bridge_instance or instance_name()
        link = MqttLink(
            settings.mqtt_host,
            settings.mqtt_port,
            PRINCIPAL,
            secret,
            f"{PRINCIPAL}:{instance}",
            receive_maximum=settings.bridge_receive_maximum,
        )
        bridge = Bridge(
            settings,
            link=link,
            stores=stores,
            presence=ValkeyPresence(valkey),
            invalidations=ValkeyInvalidations(valkey),
            jobs=jobs,
            limiter=ValkeyRateLimiter(valkey),
            progress=ValkeyPushProgress(valkey),
            registry=registry,
            tracer=tracer,
        )
        link.on_up = bridge.link_up
        metrics = await serve(settings.bridge_http, registry, bridge.health, settings=partial(visible, settings))
        stack.push_async_callback(metrics.close)
        garbage.rarely()
        await bridge.run(stop)


async def _open_stores(settings: Settings, stop: asyncio.Event) -> Stores | None:
    """The stores, as soon as the database answers; None when the process is stopped before."""
    backoff = Backoff(first=0.2, most=5.0)
    while not stop.is_set():
        try:
            return await open_stores(settings.mongo_url, settings.mongo_database)
        except Unavailable as error:
            _log.warning("store.unavailable", reason=error.reason)
        try:
            async with asyncio.timeout(backoff.next()):
                await stop.wait()
        except TimeoutError:
            continue
    return None


if __name__ == "__main__":
    sys.exit(main())
