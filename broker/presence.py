"""Who is connected: told to services (`$events/…`), to people (`users/{user}/presence`, retained) and to the presence table."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from broker.limits import Limits
from chat import topics
from chat.envelopes import Connection

PUMP_EVERY = 0.5
"""Seconds, and at least one tick of the broker: how late a state may be that was not told at once."""


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


class Timer(Protocol):
    """Runs something at the first tick after so many seconds."""

    def __call__(self, seconds: float, action: Callable[[], None], /) -> None:
        """Once."""
        ...


@dataclass(slots=True)
class _Waiting:
    online: bool
    at: datetime
    due: float


class PresenceEvents:
    """Counts connections per principal, and tells people of it in a way that a storm can't multiply.

    Services are told of every connection at once. People, who may be thousands for each principal, are told of *states*, and of a state
    only if it lasts: who is back within `presence_grace` was never away, whatever the network did. And of at most `presence_rate`
    states per second: when thousands reconnect, the rest waits its turn and then tells the newest, so what watchers get is bounded by
    time, not by how often somebody's connection comes and goes.

    Args:
        publish: publishes in the broker's name.
        sink: the presence table, if there is one.
        later: the broker's timers.
        clock: monotonic seconds.
        limits: the limits in force.
        now: wall clock.
    """

    def __init__(
        self,
        publish: Publish,
        sink: PresenceSink | None,
        *,
        later: Timer,
        clock: Callable[[], float],
        limits: Callable[[], Limits],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._publish = publish
        self.sink = sink
        self._later = later
        self._clock = clock
        self._limits = limits
        self._now = now
        self.online: Counter[str] = Counter()
        self._told: set[str] = set()  # those whom people were told to be online
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._armed = False
        self._second, self._spent = clock(), 0

    @property
    def waiting(self) -> int:
        """How many states people have not been told of yet."""
        return len(self._waiting)

    def connected(self, principal: str, client_id: str) -> None:
        """One more connection."""
        self.online[principal] += 1
        at = self._tell("connected", principal, client_id)
        if self.online[principal] == 1:
            self._changed(principal, at, online=True)

    def disconnected(self, principal: str, client_id: str) -> None:
        """One less."""
        self.online[principal] -= 1
        gone = self.online[principal] <= 0
        if gone:
            del self.online[principal]
        at = self._tell("disconnected", principal, client_id)
        if gone:
            self._changed(principal, at, online=False)

    def _tell(self, name: str, principal: str, client_id: str) -> datetime:
        """Tell services and the presence table."""
        at = self._now()
        online = self.online.get(principal, 0)
        event = Connection(principal=principal, client_id=client_id, online=online, at=at)
        self._publish(topics.event(name), msgspec.json.encode(event))
        if self.sink is not None:
            self.sink.changed(principal, online)
        return at

    def _changed(self, principal: str, at: datetime, *, online: bool) -> None:
        """Somebody came or went: tell it now, later, or not at all, because what people were told is true (again)."""
        self._waiting.pop(principal, None)
        if online == (principal in self._told):
            return
        if online and not self._waiting and self._grant():
            self._show(principal, at, online=True)
            return
        grace = 0.0 if online else self._limits().presence_grace
        self._waiting[principal] = _Waiting(online, at, self._clock() + grace)
        self._arm()

    def _grant(self) -> bool:
        """Whether one more state may be told in this second."""
        now = self._clock()
        if now - self._second >= 1.0:
            self._second, self._spent = now, 0
        self._spent += 1
        return self._spent <= self._limits().presence_rate

    def _arm(self) -> None:
        if not self._armed and self._waiting:
            self._armed = True
            self._later(PUMP_EVERY, self._pump)

    def _pump(self) -> None:
        """Tell what is due, the oldest first, as much as this second allows."""
        self._armed = False
        now = self._clock()
        for principal, wait in list(self._waiting.items()):
            if wait.due > now:
                continue
            if not self._grant():
                break
            del self._waiting[principal]
            self._show(principal, wait.at, online=wait.online)
        self._arm()

    def _show(self, principal: str, at: datetime, *, online: bool) -> None:
        if online:
            self._told.add(principal)
        else:
            self._told.discard(principal)
        self._publish(topics.presence(principal), msgspec.json.encode({"online": online, "at": at}), qos=0, retain=True)
