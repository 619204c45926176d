"""Seeded schedules: which fault strikes when. The same seed, faults and minutes make the same schedule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

GAP = (2.0, 5.0)
"""Seconds between the end of one fault and the next."""

TYPICAL = 4.0
"""Seconds that a fault takes, as far as planning goes."""


@dataclass(frozen=True, slots=True)
class Step:
    """After `wait` seconds of peace, this fault."""

    wait: float
    fault: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps, and the seed that they came from."""

    seed: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}", *(f"  +{step.wait:4.1f} s  {step.fault}" for step in self.steps)])


def schedule(seed: int, faults: Sequence[str], *, seconds: float) -> Schedule:
    """Each fault once in some order, again and again in other orders, until the time is filled; each at least once."""
    chance = random.Random(seed)  # noqa: S311 -- reproducible on purpose
    steps: list[Step] = []
    left = seconds
    while left > 0 or not steps:
        order = list(faults)
        chance.shuffle(order)
        first_round = not steps
        for fault in order:
            if left <= 0 and not first_round:
                break
            step = Step(round(chance.uniform(*GAP), 1), fault)
            steps.append(step)
            left -= step.wait + TYPICAL
    return Schedule(seed, tuple(steps))
