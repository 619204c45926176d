"""What the parts of the broker share: sessions, subscriptions, retained messages, counters, and the turn's output."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from broker.limits import Limits
from broker.policy import Policy
from broker.stats import Stats
from broker.unsent import Unsent
from mqtt.index import TopicIndex
from mqtt.journal import Journal
from mqtt.outgoing import Outcome
from mqtt.retained import RetainedMessages
from mqtt.session import Session, Subscription

if TYPE_CHECKING:
    from broker.connection import Connection

DROP_NAMES = {
    Outcome.OFFLINE: "offline_qos0",
    Outcome.QUEUE_FULL: "queue_full",
    Outcome.STALLED: "slow_consumer_qos0",
    Outcome.TOO_LARGE: "too_large_for_client",
    Outcome.EXPIRED: "expired",
}
"""Under which name what was not delivered is counted."""


class Core:
    """Shared state of one broker, and its clock.

    Args:
        policy: decides who may what.
        limits: every bound.
        clock: monotonic seconds.
    """

    def __init__(self, policy: Policy, limits: Limits, clock: Callable[[], float]) -> None:
        self.policy = policy
        self.limits = limits
        self.clock = clock
        self.now = clock()
        """When the bytes at hand came, seconds of the clock: read once per read, not once per packet."""
        self.stats = Stats(self.now)
        self.index: TopicIndex[Session, Subscription] = TopicIndex()
        self.retained = RetainedMessages(limits.retained)
        self.journal: Journal | None = None
        """Notes what has to survive the process; None for a broker without a session store."""
        self.sessions: dict[str, Session] = {}
        self._by_principal: dict[str, list[Session]] = {}
        self.connections: dict[str, Connection] = {}
        self.open: set[Connection] = set()
        """Every connection, also those that have not said who they are."""
        self.unsent = Unsent(self)
        self.stamps = True
        """Whether there are services, whose user properties (`broker.router`) nobody else may send."""
        self.draining = False
        self._dropped = self._count_dropped  # one object for all sessions
        self._dirty: list[Session] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    # ---- output: once per turn of the loop

    def touch(self, session: Session) -> None:
        """Send what stands in the session's `out` at the end of this turn."""
        session.dirty = True
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._flush)
        self._dirty.append(session)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for session in dirty:
            session.dirty = False
            if session.connection is not None:
                session.connection.flush()

    def durably(self, call: Callable[[], None]) -> None:
        """Call once everything that was noted so far is on disk: at once where nothing is kept."""
        if self.journal is None:
            call()
        else:
            self.journal.after(call)

    # ---- time

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` at the first tick after so many seconds: for deadlines that may be a second late."""
        heapq.heappush(self._timers, (self.clock() + seconds, next(self._order), action))

    def run_timers(self) -> None:
        """Run what is due."""
        now = self.now = self.clock()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        for topic in self.retained.evict(now):
            if self.journal is not None:
                self.journal.not_retained(topic)

    # ---- sessions

    def new_session(self, client_id: str, principal: str, *, uid: str = "") -> Session:
        """A fresh session under a client id; with the `uid` of one that an earlier process had."""
        session = Session(
            client_id, principal, uid=uid or secrets.token_hex(8), queue_limit=self.limits.queue, dropped=self._dropped
        )
        self.sessions[client_id] = session
        self._by_principal.setdefault(principal, []).append(session)
        return session

    def persist(self, session: Session) -> None:
        """Note that a session has a connection and outlives it, or that it does not."""
        if self.journal is None:
            return
        if session.expiry:
            session.journal = self.journal
            self.journal.opened(session)
        elif session.journal is not None:
            self.journal.forget(session)
            session.journal = None

    def _count_dropped(self, outcome: Outcome) -> None:
        self.stats.dropped[DROP_NAMES[outcome]] += 1

    def drop_session(self, session: Session) -> None:
        """Forget a session with all its subscriptions and messages."""
        if session.journal is not None:
            session.journal.forget(session)
            session.journal = None
        for text in list(session.subscriptions):
            self.unsubscribe(session, text)
        session.queue.clear()
        session.inflight.clear()
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
        own = self._by_principal.get(session.principal)
        if own is not None:
            with contextlib.suppress(ValueError):  # it is gone already
                own.remove(session)
            if not own:
                del self._by_principal[session.principal]

    def subscribe(self, session: Session, text: str, subscription: Subscription) -> bool:
        """Add or replace a subscription (the filter as the client wrote it, `$share/…` included). True if it is new."""
        new = self.index.add(text, session, subscription)
        session.subscriptions[text] = subscription
        session.shared += new and text.startswith("$share/")
        if session.journal is not None:
            session.journal.subscribed(session, text, subscription)
        return new

    def unsubscribe(self, session: Session, text: str) -> bool:
        """Take a subscription away. False if there was none."""
        if session.subscriptions.pop(text, None) is None:
            return False
        self.index.remove(text, session)
        session.shared -= text.startswith("$share/")
        if session.journal is not None:
            session.journal.unsubscribed(session, text)
        return True

    def sessions_of(self, principal: str) -> list[Session]:
        """Every session of one principal, connected or not."""
        return list(self._by_principal.get(principal, ()))

    def regroup(self, session: Session) -> None:
        """A member of shared subscriptions connected or went: choose anew who gets which topic."""
        if not session.shared:
            return
        for text in session.subscriptions:
            if text.startswith("$share/"):
                self.index.regroup(text)
