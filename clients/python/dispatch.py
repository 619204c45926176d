"""Callbacks of the app, on a thread of their own, so that a slow one delays neither acknowledgements nor keepalives."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

_log = logging.getLogger("pabal.client")

Call = tuple[Callable[[Any], None], Any]
"""A callback and what it gets."""


class Dispatcher:
    """Runs what is `put`, and what `pull` yields, one after the other.

    Args:
        name: of the thread.
        pull: the next call that is kept elsewhere; None when there is none now.
        limit: how many calls are kept here; the oldest goes first when there are more (they tell of states that newer ones repeat).
    """

    def __init__(self, name: str, *, pull: Callable[[], Call | None], limit: int = 1000) -> None:
        self._pull = pull
        self._calls: deque[Call] = deque(maxlen=limit)
        self._wake = threading.Condition()
        self._woken = False
        self._stopping = False
        self.dropped = 0
        """Calls that were not made for want of room."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, callback: Callable[[Any], None], argument: Any) -> None:
        """Run `callback(argument)` soon."""
        with self._wake:
            self.dropped += len(self._calls) == self._calls.maxlen
            self._calls.append((callback, argument))
            self._woken = True
            self._wake.notify()

    def wake(self) -> None:
        """`pull` may have something."""
        with self._wake:
            self._woken = True
            self._wake.notify()

    def stop(self) -> None:
        """End after the call that runs now; what is still kept is not run. May be called from a callback."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            call = self._next()
            if call is None:
                self._sleep()
                continue
            callback, argument = call
            try:
                callback(argument)
            except Exception:  # noqa: BLE001  # the app's own mistake must not end the delivery of everything that follows
                _log.exception("callback.failed")

    def _next(self) -> Call | None:
        with self._wake:
            self._woken = False
            if self._calls:
                return self._calls.popleft()
        return self._pull()

    def _sleep(self) -> None:
        with self._wake:
            while not (self._woken or self._stopping):
                self._wake.wait()
