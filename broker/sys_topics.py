"""`$SYS/broker/…`: what the broker counts, for those who would rather subscribe than scrape.

The names and units are Mosquitto's, so that its tools read them. Values are sent every few seconds to those who subscribe,
and at once to a new subscription, as if they were retained. They are QoS 0 and are kept nowhere: the next one is on its way.

| topic below `$SYS/broker/` | |
|---|---|
| `version`, `uptime` | `pabal 0.1.0`; `12 seconds` |
| `clients/connected`, `clients/disconnected`, `clients/total` | sessions by whether their client is there |
| `subscriptions/count`, `retained messages/count` | |
| `publish/messages/received`, `publish/messages/sent`, `publish/messages/dropped` | since the start |
| `bytes/received`, `bytes/sent` | since the start |
| `load/publish/received/1min`, `load/publish/sent/1min` | messages per minute, a moving average |
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable
from dataclasses import replace

from broker.core import Core
from broker.router import Router
from mqtt.filters import matches
from mqtt.messages import Message
from mqtt.session import Session, Subscription

PREFIX = "$SYS/"
_ROOT = "$SYS/broker/"
_MINUTE = 60.0


class SysTopics:
    """Publishes the tree.

    Args:
        core: what is counted.
        router: delivers it.
        every: seconds between two publications.
    """

    def __init__(self, core: Core, router: Router, *, every: float) -> None:
        self._core = core
        self._router = router
        self._every = every
        self._due = core.now + every
        self._received = _Load(lambda: core.stats.published, core.now)
        self._sent = _Load(lambda: core.stats.delivered, core.now)
        self._version = f"pabal {importlib.metadata.version('pabal')}"

    def tick(self, now: float) -> None:
        """Once a second: keep the averages, and publish when it is time."""
        self._received.tick(now)
        self._sent.tick(now)
        if now >= self._due:
            self._due = now + self._every
            for topic, value in self.values().items():
                self._router.publish(_message(topic, value))

    def greet(self, session: Session, subscription: Subscription) -> None:
        """Send a new subscription what it matches, with RETAIN set: it does not wait for the next round."""
        if not subscription.topic_filter.startswith(PREFIX):
            return
        retained = replace(subscription, retain_as_published=True)
        for topic, value in self.values().items():
            if matches(subscription.topic_filter, topic):
                self._router.deliver_one(session, retained, _message(topic, value, retain=True), self._core.now)

    def values(self) -> dict[str, str]:
        """Every topic with its value now."""
        core, stats = self._core, self._core.stats
        connected, sessions = len(core.connections), len(core.sessions)
        found = {
            "version": self._version,
            "uptime": f"{core.clock() - stats.started:.0f} seconds",
            "clients/connected": connected,
            "clients/disconnected": sessions - connected,
            "clients/total": sessions,
            "subscriptions/count": core.index.size,
            "retained messages/count": core.retained.count,
            "publish/messages/received": stats.published,
            "publish/messages/sent": stats.delivered,
            "publish/messages/dropped": stats.dropped.total(),
            "bytes/received": stats.bytes_in,
            "bytes/sent": stats.bytes_out,
            "load/publish/received/1min": f"{self._received.per_minute:.2f}",
            "load/publish/sent/1min": f"{self._sent.per_minute:.2f}",
        }
        return {_ROOT + name: str(value) for name, value in found.items()}


class _Load:
    """How fast a counter rises: per minute, an exponentially weighted average over about a minute."""

    def __init__(self, counter: Callable[[], int], now: float) -> None:
        self._counter = counter
        self._last = counter()
        self._at = now
        self.per_minute = 0.0

    def tick(self, now: float) -> None:
        passed = now - self._at
        if passed <= 0:
            return
        count = self._counter()
        rate = (count - self._last) * _MINUTE / passed
        weight = math.exp(-passed / _MINUTE)
        self.per_minute = self.per_minute * weight + rate * (1 - weight)
        self._last, self._at = count, now


def _message(topic: str, value: str, *, retain: bool = False) -> Message:
    return Message(topic, value.encode(), retain=retain)
