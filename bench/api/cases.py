"""What is measured: routes at rising rates, one row of the table each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Route(StrEnum):
    """What is asked for."""

    NEWEST = "history, newest page of 50"
    OLDER = "history, an older page of 50"
    GROUP = "history of a group of 50, newest page of 50"
    LARGE = "history of a group of 1,000, newest page of 50"
    COLD = "history, newest page of 50, Valkey emptied all the time"
    CHATS = "chat list, first 50 of 2,000"
    LOGIN = "login by password"
    SEND = "send a message of 1 KiB"


@dataclass(frozen=True, slots=True)
class Budget:
    """Milliseconds within which 99 % must be answered at up to `rate` requests per second, and those that we aim at."""

    rate: int
    must: float
    aim: float


PAGE_BUDGET = Budget(rate=300, must=20.0, aim=10.0)


@dataclass(frozen=True, slots=True)
class Case:
    """So many requests per second.

    Attributes:
        budget: of the route, if it has one; it is for rates up to its own.
    """

    route: Route
    rate: int
    seconds: float = 10.0
    budget: Budget | None = None

    @property
    def name(self) -> str:
        """Of the result."""
        return f"{self.route.name.lower()}@{self.rate}"

    @property
    def limits(self) -> Budget | None:
        """The budget, where it is for this rate."""
        return self.budget if self.budget is not None and self.rate <= self.budget.rate else None


KEPT_UP = 0.97
"""Share of a rate that counts as all of it: the last answers come a moment after the last requests."""


def keeps_up(case: Case, rate: float) -> bool:
    """Whether answers came as fast as requests.

    Args:
        rate: answers per second, from the first request to the last answer.
    """
    return rate >= KEPT_UP * case.rate


def verdict(case: Case, *, rate: float, p99: float) -> str:
    """What is to be said of a row.

    Args:
        rate: answers per second.
        p99: seconds.
    """
    if not keeps_up(case, rate):
        return "**does not keep up**" if case.limits is not None else "does not keep up"
    if case.limits is None:
        return "keeps up"
    if p99 * 1e3 <= case.limits.aim:
        return "aim"
    return "must" if p99 * 1e3 <= case.limits.must else "**missed**"


RATES: dict[Route, tuple[int, ...]] = {
    Route.NEWEST: (100, 200, 300, 400, 600),
    Route.OLDER: (100, 200, 300, 400),
    Route.GROUP: (50, 100, 200),
    Route.LARGE: (20, 50, 100),
    Route.COLD: (100, 200),
    Route.CHATS: (5, 10, 20, 40),
    Route.LOGIN: (5, 10, 20, 40),
    Route.SEND: (50, 100, 200, 400),
}
"""Rising, to beyond what is asked for; those behind the first that a route does not keep up with are left out."""

CASES: tuple[Case, ...] = tuple(
    Case(route, rate, budget=PAGE_BUDGET if route in (Route.NEWEST, Route.OLDER) else None)
    for route, rates in RATES.items()
    for rate in rates
)

WARM_UP = 2.0
"""Seconds of the same before it counts."""
