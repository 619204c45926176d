"""Refused requests as events of the log: which rule said no, on which route, to whom and from where. Never what was sent.

Whoever is refused can ask again at once, so the log takes so many per second and counts the rest; the next event says how many were left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from starlette.types import Scope

RATE = 20.0
"""Events per second: some 2 MB of log an hour at most, which a person can still read and a rotation bears."""

BURST = 100.0

CALLER = "caller"
"""Where a request's state has the principal whose token it came with."""

_log = structlog.get_logger("api")


class Refusals:
    """The events of this process.

    Args:
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._tokens, self._at = BURST, monotonic()
        self._left_out = 0

    def tell(self, scope: Scope, *, status: int, code: str) -> None:
        """Log that a request was refused."""
        at = self._monotonic()
        self._tokens = min(BURST, self._tokens + (at - self._at) * RATE)
        self._at = at
        if self._tokens < 1:
            self._left_out += 1
            return
        self._tokens -= 1
        client = scope.get("client")
        _log.info(
            "request.refused",
            status=status,
            code=code,
            method=scope["method"],
            route=str(getattr(scope.get("route"), "path", "unmatched")),  # the pattern: a path may hold ids and tokens
            principal=scope.get("state", {}).get(CALLER),
            address=client[0] if client else None,
            left_out=self._left_out,
        )
        self._left_out = 0
