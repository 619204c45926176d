"""Filters: a chain of small classes, one per file. The first refusal wins.

| file | refuses | code |
|---|---|---|
| `size.py` | what is too long | `too_large`, `too_long` |
| `rate.py` | a sender who is too fast | `rate_limited` |
| `chat_rate.py` | a chat that is too busy | `chat_rate_limited` |
| `duplicates.py` | the same again and again | `duplicate_flood` |
| `words.py` | blocked words | `blocked_word` |
| `links.py` | blocked domains | `blocked_link` |

`assembly.py` makes the chain; `buckets.py`, `lists.py`, `folding.py` and `texts.py` are what filters are made of. `shadow.py` refuses nobody.

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
