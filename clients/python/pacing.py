"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable

RETRY_BASE = 0.5
"""Seconds before the second try of anything."""

RETRY_CAP = 30.0
"""No wait is longer (s): a phone that comes out of a tunnel should not wait minutes."""


def backoff(
    attempt: int,
    *,
    base: float = RETRY_BASE,
    cap: float = RETRY_CAP,
    rng: Callable[[], float] = random.random,
) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 0): doubling, half of it random.

    The random half keeps a thousand clients that lost the same broker from coming back in the same moment ("equal jitter",
    Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015).
    """
    full = min(cap, base * 2.0 ** min(attempt, 32))
    return full / 2 + rng() * full / 2
