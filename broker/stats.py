"""What the broker counts. Plain integers, because some of them move for every message; `metrics.py` shows them.

Times are sampled: one publish in `SAMPLE` is measured, so that measuring costs the others one comparison.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

SAMPLE = 64
"""One publish in so many is timed: a thousand a second still give 900 samples a minute."""

SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds of the histograms: from the shortest turn of the loop to where a client gives up."""


class Histogram:
    """How often a duration fell below each of `SECONDS`. Cheaper than prometheus_client's, which locks."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus' buckets: bound, and how many were not above it."""
        made, below = [], 0
        for bound, count in zip((*map(str, SECONDS), "+Inf"), self.counts, strict=True):
            below += count
            made.append((bound, float(below)))
        return made


class Stats:
    """Counters since the start."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "connects",
        "delivered",
        "dropped",
        "loop_lag",
        "published",
        "refused",
        "settled_count",
        "started",
        "store_batches",
        "store_changes",
        "store_failures",
        "to_ack",
        "to_deliver",
        "to_receiver",
    )

    def __init__(self, started: float) -> None:
        self.started = started
        self.bytes_in = 0
        self.bytes_out = 0
        self.published = 0
        self.delivered = 0
        self.settled_count = 0
        """Publishes that the bridge has answered."""
        self.store_batches = 0
        self.store_changes = 0
        """Records that were saved or forgotten on disk."""
        self.store_failures = 0
        """Attempts at a batch that failed."""
        self.connects: Counter[str] = Counter()
        """Connection attempts by outcome (reason name)."""
        self.dropped: Counter[str] = Counter()
        """Messages that were not delivered, by reason."""
        self.refused: Counter[str] = Counter()
        """Publishes and subscriptions that were refused, by reason."""
        self.to_ack = Histogram()
        """From the bytes of a QoS 1 or 2 PUBLISH to its first acknowledgement; with the bridge's store in between, if any."""
        self.to_deliver = Histogram()
        """From the bytes of a PUBLISH to the writing of it to those receivers whose window had room."""
        self.to_receiver = Histogram()
        """From the arrival of a stored event to the PUBACK of one of its receivers."""
        self.loop_lag = Histogram()
        """By how much the event loop was late."""

    def settled(self, clock: Callable[[], float], since: float) -> None:
        """The bridge has answered a publish of which the bytes came at `since`."""
        self.settled_count += 1
        if not self.settled_count % SAMPLE:
            self.to_ack.observe(clock() - since)

    def time_turn(self, clock: Callable[[], float], *, acknowledged: bool, delivered: bool, since: float) -> None:
        """Time a publish that is answered and delivered in this turn of the loop.

        The turn's output is written by a callback that stands before ours, which therefore sees it done.
        """

        def written() -> None:
            seconds = clock() - since
            if acknowledged:
                self.to_ack.observe(seconds)
            if delivered:
                self.to_deliver.observe(seconds)

        if acknowledged or delivered:
            asyncio.get_running_loop().call_soon(written)
