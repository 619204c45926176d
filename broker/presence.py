"""Who is connected: told to services (`$events/…`), to people (`users/{user}/presence`, retained) and to the presence table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from chat import topics
from chat.envelopes import Connection


class PresenceSink(Protocol):
    """Takes changes of the presence table; must not block."""

    def changed(self, principal: str, online: int) -> None:
        """A principal has `online` connections now."""
        ...


class Publish(Protocol):
    """Publishes in the broker's name."""

    def __call__(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """One message."""
        ...


class PresenceEvents:
    """Counts connections per principal.

    Args:
        publish: publishes in the broker's name.
        sink: the presence table, if there is one.
        now: wall clock.
    """

    def __init__(
        self, publish: Publish, sink: PresenceSink | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._publish = publish
        self.sink = sink
        self._now = now
        self.online: Counter[str] = Counter()

    def connected(self, principal: str, client_id: str) -> None:
        """One more connection."""
        self.online[principal] += 1
        self._tell("connected", principal, client_id, changed=self.online[principal] == 1)

    def disconnected(self, principal: str, client_id: str) -> None:
        """One less."""
        self.online[principal] -= 1
        gone = self.online[principal] <= 0
        if gone:
            del self.online[principal]
        self._tell("disconnected", principal, client_id, changed=gone)

    def _tell(self, name: str, principal: str, client_id: str, *, changed: bool) -> None:
        at = self._now()
        online = self.online.get(principal, 0)
        event = Connection(principal=principal, client_id=client_id, online=online, at=at)
        self._publish(topics.event(name), msgspec.json.encode(event))
        if self.sink is not None:
            self.sink.changed(principal, online)
        if changed:
            state = msgspec.json.encode({"online": online > 0, "at": at})
            self._publish(topics.presence(principal), state, qos=0, retain=True)
