"""Filters: a chain of small classes, one per file. The first refusal wins.

A filter sees a message after it was read and before anything is stored. It answers at once, from memory: what needs a query
belongs elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bridge.decode import Draft


class Filter(Protocol):
    """One reason to refuse a message."""

    def check(self, draft: Draft) -> None:
        """Let the message pass.

        Raises:
            Refused, RateLimited: or refuse it.
        """
        ...


class Chain:
    """Filters in the order in which they are asked."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = tuple(filters)

    def check(self, draft: Draft) -> None:
        """Ask all of them; the first refusal is raised."""
        for filter_ in self._filters:
            filter_.check(draft)
