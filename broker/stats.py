"""What the broker counts. Plain integers, because some of them move for every message; `metrics.py` shows them."""

from __future__ import annotations

from collections import Counter


class Stats:
    """Counters since the start."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "connects",
        "delivered",
        "dropped",
        "published",
        "refused",
        "started",
    )

    def __init__(self, started: float) -> None:
        self.started = started
        self.bytes_in = 0
        self.bytes_out = 0
        self.published = 0
        self.delivered = 0
        self.connects: Counter[str] = Counter()
        """Connection attempts by outcome (reason name)."""
        self.dropped: Counter[str] = Counter()
        """Messages that were not delivered, by reason."""
        self.refused: Counter[str] = Counter()
        """Publishes and subscriptions that were refused, by reason."""
