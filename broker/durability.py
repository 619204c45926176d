"""The disk behind the engine: writes what the journal has collected, and brings it back at the start.

One batch is under way at a time. While it is being written the next one gathers, and for as long again as that took: at rest
every change is written at once; under load batches grow by themselves, and much of what they hold is acknowledged by its
receivers in time, and never written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from broker.core import Core
from mqtt.journal import Journal
from mqtt.store import Batch, SessionStore

log = structlog.get_logger("broker")

RETRY_SECONDS = 0.5
"""Between attempts at a batch that could not be written: a full disk is not emptied faster."""

GATHER_SECONDS = 0.005
"""The longest pause between two batches under load: about what a receiver needs to answer."""

CLOSE_SECONDS = 10.0
"""How long a broker that ends waits for its last batch."""


class Durability:
    """Writes the journal of a broker.

    Args:
        core: gets the journal.
        store: keeps the batches.
        wall: seconds since the epoch.
    """

    def __init__(self, core: Core, store: SessionStore, *, wall: Callable[[], float] = time.time) -> None:
        self.journal = Journal(starts=store.starts, clock=core.clock, wall=wall, awake=self._awake, touch=core.touch)
        self._core = core
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._failing = False
        self._began = 0.0
        core.journal = self.journal

    @property
    def well(self) -> bool:
        """Whether the last batch could be written."""
        return not self._failing

    def _awake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        batch, calls = self.journal.take()
        if batch:
            self._began = self._loop.time()
            self._write(batch, calls)
        else:
            self._scheduled = False
            self.journal.written(calls)

    def _write(self, batch: Batch, calls: list[Callable[[], None]]) -> None:
        def done(failure: Exception | None) -> None:
            self._loop.call_soon_threadsafe(self._written, batch, calls, failure)

        self._store.write(batch, done)

    def _written(self, batch: Batch, calls: list[Callable[[], None]], failure: Exception | None) -> None:
        stats = self._core.stats
        if failure is not None:
            # Who waits goes on waiting, and their windows with them: nothing is acknowledged that is not on disk.
            stats.store_failures += 1
            if not self._failing:
                log.error("store.failed", error=f"{type(failure).__name__}: {failure}", changes=len(batch))
            self._failing = True
            self._loop.call_later(RETRY_SECONDS, self._write, batch, calls)
            return
        if self._failing:
            log.info("store.recovered")
        self._failing = False
        stats.store_batches += 1
        stats.store_changes += len(batch)
        self.journal.written(calls)
        if self.journal.idle:
            self._scheduled = False
        else:
            self._loop.call_later(min(self._loop.time() - self._began, GATHER_SECONDS), self._hand_over)

    async def close(self) -> None:
        """Write what is left."""
        written = asyncio.Event()
        self.journal.after(written.set)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await written.wait()
        except TimeoutError:
            log.error("store.unwritten", changes=self.journal.pending)  # noqa: TRY400 - there is nothing to trace
