"""Waiting between tries: exponential, with jitter, bounded."""

from __future__ import annotations

import random


class Backoff:
    """The delays of one series of tries.

    Each delay is drawn evenly from the upper half of a step that doubles from `first` up to `most`: many clients that
    lost the same server do not come back in one wave, and none of them spins.

    Args:
        first: seconds of the first step.
        most: seconds that no step passes.
    """

    def __init__(self, *, first: float = 0.05, most: float = 5.0) -> None:
        self._first = first
        self._most = most
        self._step = first

    def next(self) -> float:
        """Seconds to wait before the next try."""
        step = self._step
        self._step = min(self._most, step * 2)
        return random.uniform(step / 2, step)  # noqa: S311 - jitter is no secret

    def reset(self) -> None:
        """A try succeeded: the next series starts small again."""
        self._step = self._first
