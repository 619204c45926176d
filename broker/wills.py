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

    def leave(self, session: Session, identity: Identity, will: Will) -> None:
        """A connection ended without a word: its will is due, unless the client comes back in time [MQTT-3.1.3-9]."""
        wait = min(will.properties.get("will_delay_interval", 0), session.expiry)
        if not wait:
            self._publish(session, identity, will)
            return
        attached = session.attached

        def due() -> None:
            if session.attached == attached:
                self._publish(session, identity, will)

        self._core.later(wait, due)

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
        message = make_message(packet, publisher=publisher, service=identity.service, now=now)
        if self._ingest.wants(will.topic):
            self._ingest.forward_will(session, message)
        else:
            self._router.publish(message)
