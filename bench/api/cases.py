"""What is measured: one row of the table each."""

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
class Case:
    """So many requests per second.

    Attributes:
        budget: milliseconds within which 99 % must be answered; None where there is none.
    """

    route: Route
    rate: int
    seconds: float = 10.0
    budget: float | None = None

    @property
    def title(self) -> str:
        """Of the row."""
        return self.route.value


CASES: dict[str, Case] = {
    "newest": Case(Route.NEWEST, 300, budget=20.0),
    "older": Case(Route.OLDER, 300, budget=20.0),
    "group": Case(Route.GROUP, 100),
    "large": Case(Route.LARGE, 20),
    "cold": Case(Route.COLD, 100),
    "chats": Case(Route.CHATS, 10),
    "login": Case(Route.LOGIN, 10),
    "send50": Case(Route.SEND, 50),
    "send100": Case(Route.SEND, 100),
    "send200": Case(Route.SEND, 200),
    "send400": Case(Route.SEND, 400),
}
"""What a budget is given for comes first."""

WARM_UP = 2.0
"""Seconds of the same before it counts."""
