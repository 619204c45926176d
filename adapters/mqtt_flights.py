"""Publishes under way on a link, and the one answer to those that were made together.

A future for each of them would be a third of what publishing costs.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from chat.ports import Published

TAKEN = Published(0)


class Flight:
    """Publishes that were made together, and the broker's answers to them.

    Attributes:
        answers: taken, unless it is noted otherwise; None: the connection went down before there was one.
        done: has the answers once all are there.
    """

    __slots__ = ("answers", "done", "left")

    def __init__(self, size: int, done: asyncio.Future[list[Published | None]]) -> None:
        self.answers: list[Published | None] = [TAKEN] * size
        self.left = size
        self.done = done

    def answered(self, index: int, answer: Published | None) -> None:
        """The answer to one of them is there."""
        self.answers[index] = answer
        self.count_down()

    def count_down(self) -> None:
        """One less to wait for."""
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self.answers)


class Waiting(NamedTuple):
    """A publish that waits for its packet id."""

    head: bytes
    tail: bytes
    flight: Flight
    number: int
