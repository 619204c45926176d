"""Whether a session may receive a message, when only a plugin can tell: messages wait for the answer, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from broker.amqtt_plugins import PluginPolicy
from broker.core import Core
from mqtt.session import Session

HELD = 1000
"""Messages of one session that wait for an answer; the next is dropped and counted, as in a full queue."""


class ReceiveGate:
    """Stands before the deliveries of `broker.router.Router`.

    Args:
        policy: is asked.
        core: its sessions and counters.
        spawn: runs a look-up beside the packets.
    """

    def __init__(
        self, policy: PluginPolicy, core: Core, spawn: Callable[[Coroutine[Any, Any, None]], None], *, held: int = HELD
    ) -> None:
        self._policy = policy
        self._core = core
        self._spawn = spawn
        self._limit = held
        self._held: dict[str, deque[tuple[str, Callable[[], None]]]] = {}

    def admits(self, session: Session, topic: str, qos: int, deliver: Callable[[], None]) -> bool:  # noqa: ARG002
        """True: deliver it now. False: it is dropped, or `deliver` is called once the plugins have allowed it."""
        held = self._held.get(session.uid)
        if held is not None:  # behind those that wait: a session gets a topic's messages in their order [MQTT-4.6.0-6]
            if len(held) < self._limit:
                held.append((topic, deliver))
            else:
                self._core.stats.dropped["queue_full"] += 1
            return False
        granted = self._policy.may_receive(session.principal, session.client_id, topic)
        if granted is None:
            self._held[session.uid] = deque([(topic, deliver)])
            self._spawn(self._release(session))
        elif not granted:
            self._core.stats.dropped["receive_not_authorized"] += 1
        return granted is True

    async def _release(self, session: Session) -> None:
        held = self._held[session.uid]
        try:
            while held:
                topic, deliver = held[0]
                granted = self._policy.may_receive(session.principal, session.client_id, topic)
                if granted is None:
                    granted = await self._policy.receives(session.principal, session.client_id, topic)
                held.popleft()
                if not granted:
                    self._core.stats.dropped["receive_not_authorized"] += 1
                elif self._core.sessions.get(session.client_id) is session:
                    deliver()
        finally:
            del self._held[session.uid]
