"""How long to wait before a process is started again."""

from __future__ import annotations

FIRST_SECONDS = 0.2
MOST_SECONDS = 10.0
HEALTHY_SECONDS = 60.0
"""A process that was healthy for so long has recovered: the next failure is a first one again."""


class Backoff:
    """Doubling waits: 0.2, 0.4, … 10 s; there is no last try."""

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    def after(self, healthy_seconds: float) -> float:
        """Seconds to wait now, given for how long the process was healthy before it ended (0 if it never was)."""
        if healthy_seconds >= HEALTHY_SECONDS:
            self._next = FIRST_SECONDS
        wait = self._next
        self._next = min(2 * wait, MOST_SECONDS)
        return wait
