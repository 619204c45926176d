"""Rate: messages per second of one sender, over all chats."""

from __future__ import annotations

from bridge.decode import Draft
from bridge.filters.buckets import Buckets
from chat.errors import RateLimited


class Rate:
    """A token bucket per sender.

    Args:
        buckets: by sender.
    """

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        wait = self._buckets.take(draft.arrival.sender)
        if wait:
            raise RateLimited(f"at most {self._buckets.rate:g} messages per second", retry_after=wait)
