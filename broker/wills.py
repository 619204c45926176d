"""Wills: what a client leaves to be published when it goes without a word (5.0 §3.1.2.5)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from broker.core import Core
from broker.ingest import Ingest
from broker.policy import Action, Identity, Undecided
from broker.router import Router, make_message
from mqtt.packets import Publish, Will
from mqtt.session import Session


class Wills:
    """Publishes wills, at once or after their delay.

    Args:
        core: shared state.
        router: delivers them.
        ingest: stamps those that go to the bridge.
        spawn: runs a look-up beside the packets.
    """

    def __init__(
        self, core: Core, router: Router, ingest: Ingest, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._core = core
        self._router = router
        self._ingest = ingest
        self._spawn = spawn
        self._waiting: dict[Session, Callable[[], None]] = {}
        """What publishes the will that waits for its delay; one per session at the most."""

    def made(self, session: Session, identity: Identity, will: Will | None) -> None:
        """A client came, with a will or without; what it left before is void."""
        self._waiting.pop(session, None)
        if session.journal is not None:
            if will is None:
                session.journal.no_will(session)
            else:
                session.journal.will(session, will, service=identity.service, due=None)

    def void(self, session: Session) -> None:
        """A client went with a word."""
        if session.journal is not None:
            session.journal.no_will(session)

    def leave(self, session: Session, identity: Identity, will: Will) -> None:
        """A connection ended without a word: its will is due, unless the client comes back in time [MQTT-3.1.3-9]."""
        wait = min(will.properties.get("will_delay_interval", 0), session.expiry)
        if wait:
            if session.journal is not None:
                session.journal.will(session, will, service=identity.service, due=self._core.clock() + wait)
            self.wait(session, identity, will, wait)
        else:
            self.void(session)
            self._publish(session, identity, will)

    def wait(self, session: Session, identity: Identity, will: Will, seconds: float) -> None:
        """Publish a will after so long, unless its client comes back before."""

        def due() -> None:
            if self._waiting.get(session) is due:
                del self._waiting[session]
                self.void(session)
                self._publish(session, identity, will)

        self._waiting[session] = due
        self._core.later(seconds, due)

    def session_ends(self, session: Session) -> None:
        """What waits is due no later than the end of its session (5.0 §3.1.3.2.2), such as by a clean start."""
        due = self._waiting.get(session)
        if due is not None:
            due()

    def _publish(self, session: Session, identity: Identity, will: Will) -> None:
        """What was allowed at CONNECT may have fallen since (P5): ask again, at once where that needs no look-up."""
        if self._core.policy.known(identity, Action.PUBLISH, will.topic) is None:
            self._spawn(self._decide(session, identity, will))
        else:
            self._send(session, identity, will)

    async def _decide(self, session: Session, identity: Identity, will: Will) -> None:
        try:
            (granted,) = await self._core.policy.decide(Action.PUBLISH, [(identity, will.topic)])
        except Undecided:
            granted = False
        if granted:
            self._send(session, identity, will)
        else:
            self._core.stats.refused["will_not_authorized"] += 1

    def _send(self, session: Session, identity: Identity, will: Will) -> None:
        packet = Publish(will.topic, will.payload, will.qos, will.retain, properties=will.properties)
        publisher, now = session.client_id, self._core.clock()
        stamps = self._core.stamps
        message = make_message(packet, publisher=publisher, service=identity.service, now=now, stamps=stamps)
        if self._ingest.wants(will.topic):
            self._ingest.forward_will(session, message)
        else:
            self._router.publish(message)
