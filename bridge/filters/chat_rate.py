"""Rate of a chat: messages per second from all of its members together."""

from __future__ import annotations

from bridge.decode import Draft
from bridge.filters.buckets import Buckets
from chat.errors import RateLimited


class ChatRate:
    """A token bucket per chat.

    Args:
        buckets: by chat.
    """

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        wait = self._buckets.take(draft.arrival.chat)
        if wait:
            raise RateLimited(
                f"at most {self._buckets.rate:g} messages per second in one chat",
                retry_after=wait,
                code="chat_rate_limited",
            )
