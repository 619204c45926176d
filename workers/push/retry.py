"""When to try again."""

from __future__ import annotations

import random

FIRST = 2.0
"""Seconds of the first step."""


def pause(tries: int, *, longest: float, asked: float | None = None) -> float:
    """Seconds to wait after the try number `tries` (from 1) failed.

    Exponential with jitter (between half of the step and all of it), so that what failed together does not come back together;
    never earlier than the provider asked for.

    Args:
        tries: how many there were.
        longest: seconds that no step passes; what the provider asks for is not bounded by it.
        asked: the provider's Retry-After in seconds.
    """
    step = min(longest, FIRST * 2.0 ** min(tries - 1, 32))
    jittered = random.uniform(step / 2, step)  # noqa: S311 - jitter is no secret
    if asked is None:
        return jittered
    return max(jittered, asked * random.uniform(1.0, 1.1))  # noqa: S311 - as above
