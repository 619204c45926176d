"""`/metrics` and `/healthz` of the worker, in a thread of the main process with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from adapters.metrics_http import serve

Check = Callable[[], Awaitable[bool]]
"""Whether a part answers now; never raises."""

Look = Callable[[], Awaitable[None]]
"""Refreshes what the collector shows; never raises."""

_EVERY_SECONDS = 2.0
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0

_log = structlog.get_logger("status")


class StatusThread:
    """Serves until `stop()`.

    Args:
        bind: `host:port`.
        metrics_dir: PROMETHEUS_MULTIPROC_DIR.
        outside: makes the checks of the outside, by name, and the look, on the thread's loop; what the stack holds is closed at the end.
        collector: of metrics that are not counted in pool processes.
        inside: parts of this process, by name: cheap, called for each probe.
        settings: those in force, without secrets.
    """

    def __init__(
        self,
        bind: str,
        metrics_dir: Path,
        outside: Callable[[AsyncExitStack], tuple[dict[str, Check], Look]],
        collector: Collector,
        inside: Callable[[], dict[str, bool]],
        settings: Callable[[], dict[str, str]],
    ) -> None:
        self._bind = bind
        self._metrics_dir = metrics_dir
        self._connect = outside
        self._collector = collector
        self._inside = inside
        self._settings = settings
        self._outside: dict[str, bool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()
        self._listening = threading.Event()
        self._failure: OSError | ValueError | None = None
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError, ValueError: the address can't be bound, or is none.
        """
        self._thread.start()
        self._listening.wait(_START_SECONDS)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop listening and end the thread."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_STOP_SECONDS)

    def health(self) -> dict[str, bool]:
        """Every part, by name."""
        return self._outside | self._inside()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except (OSError, ValueError) as error:
            self._failure = error
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self._metrics_dir))  # type: ignore[no-untyped-call]
        registry.register(self._collector)
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            checks, look = self._connect(stack)
            self._outside = dict.fromkeys(checks, False)
            server = await serve(self._bind, registry, self.health, settings=self._settings)
            stack.push_async_callback(server.close)
            self._listening.set()
            while not self._ended.is_set():
                await asyncio.gather(self._look(checks), look())
                try:
                    await asyncio.wait_for(self._ended.wait(), _EVERY_SECONDS)
                except TimeoutError:
                    continue

    async def _look(self, checks: dict[str, Check]) -> None:
        found = await asyncio.gather(*(check() for check in checks.values()))
        for name, well in zip(checks, found, strict=True):
            if self._outside[name] != well:
                _log.log(20 if well else 30, "health.changed", part=name, well=well)
            self._outside[name] = well
