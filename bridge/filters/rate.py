"""Rate: messages per second of one sender, over all chats."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from bridge.decode import Draft
from chat.errors import RateLimited

MAX_SENDERS = 50_000
"""Buckets kept; the ones longest unused are forgotten first, and a forgotten sender starts with a full bucket."""


class Rate:
    """A token bucket per sender, in this process's memory (a sender's chats may be spread over several bridges).

    Args:
        rate: messages per second in the long run.
        burst: messages at once.
        clock: seconds that only rise.
    """

    def __init__(self, *, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        sender, now = draft.arrival.sender, self._clock()
        tokens, since = self._buckets.get(sender, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        if tokens < 1:
            raise RateLimited(f"at most {self._rate:g} messages per second", retry_after=(1 - tokens) / self._rate)
        self._buckets[sender] = (tokens - 1, now)
        self._buckets.move_to_end(sender)
        if len(self._buckets) > MAX_SENDERS:
            self._buckets.popitem(last=False)
