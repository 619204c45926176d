"""A push provider that records what it was handed, and answers as it was told."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterable

from chat.ports import Push
from chat.pushes import PushError

MAX_PUSHES = 10_000


class MemoryPushSender:
    """`chat.ports.PushSender` for tests; may be called from several threads.

    Attributes:
        delivered: pushes that ended well, oldest first.
        attempts: every push that was tried.
    """

    def __init__(self) -> None:
        self.delivered: deque[Push] = deque(maxlen=MAX_PUSHES)
        self.attempts: deque[Push] = deque(maxlen=MAX_PUSHES)
        self._outcomes: defaultdict[str, deque[PushError | None]] = defaultdict(deque)
        self._lock = threading.Lock()

    def program(self, token: str, outcomes: Iterable[PushError | None]) -> None:
        """How the next pushes for `token` end, one after the other: an error to raise, or None for well."""
        with self._lock:
            self._outcomes[token].extend(outcomes)

    def send(self, push: Push) -> None:
        """Record the push, or raise what was programmed for its token."""
        with self._lock:
            self.attempts.append(push)
            planned = self._outcomes[push.token.token]
            outcome = planned.popleft() if planned else None
            if outcome is not None:
                raise outcome
            self.delivered.append(push)
