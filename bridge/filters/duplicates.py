"""Duplicates: the same message over and over from one person, in one chat or in many."""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.decode import Draft
from chat.envelopes import encode
from chat.errors import Refused
from chat.ids import is_device

MAX_REMEMBERED = 100_000
"""Contents remembered at once (about 20 MB); a new span is begun before there are more."""


class Duplicates:
    """Refuses what its sender has sent too often lately. Devices are exempt: a reading repeats by its nature.

    Contents are counted by hash in two spans of time, this one and the one before, of which the part counts that is still within reach;
    so nothing has to be swept.

    Args:
        most: of one content, by one sender, within `within`.
        within: seconds.
        clock: seconds that only rise.
    """

    def __init__(self, *, most: int, within: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._within = within
        self._clock = clock
        self._since = clock()
        self._now: dict[tuple[str, int], int] = {}
        self._before: dict[tuple[str, int], int] = {}

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        sender, body = draft.arrival.sender, draft.send.body
        if draft.send.type != "message" or body is None or is_device(sender):
            return
        age = self._age()
        key = (sender, hash(encode(body) if body.text is None else body.text))
        count = self._now.get(key, 0)
        earlier = self._before.get(key, 0) * (1 - age / self._within)
        if count + earlier >= self._most:
            raise Refused(
                f"the same message {self._most} times within {self._within:g} seconds", code="duplicate_flood"
            )
        self._now[key] = count + 1

    def _age(self) -> float:
        """How old this span is; begins a new one when it is over or full."""
        now = self._clock()
        age = now - self._since
        if age < self._within and len(self._now) < MAX_REMEMBERED:
            return age
        self._before = self._now if age < 2 * self._within else {}
        self._now = {}
        self._since = now
        return 0.0
