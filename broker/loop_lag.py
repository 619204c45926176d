"""How late the event loop is: the first sign that this process has too much to do."""

from __future__ import annotations

import asyncio

from broker.stats import Stats

EVERY = 0.1
"""Seconds between two looks: a stall of that length is always seen."""


async def watch(stats: Stats, *, every: float = EVERY) -> None:
    """Measure for ever by how much a short sleep is too long."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every
        await asyncio.sleep(every)
        stats.loop_lag.observe(max(0.0, loop.time() - due))
