"""One client's session (MQTT 5.0 §4.1): who, what they subscribed to, and the two halves, receiving and sending."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mqtt.inbound import Inbound
from mqtt.journal import Journal
from mqtt.outbound import MAX_PACKET_ID, Outbound
from mqtt.outgoing import Outcome
from mqtt.subscription import Subscription

__all__ = ["MAX_PACKET_ID", "Session", "Subscription"]


class Session(Outbound):
    """One client's session, connected or not.

    Args:
        client_id: its name on this broker.
        principal: whom it belongs to.
        uid: unlike any other session's, also an earlier one of the same client id.
        queue_limit: how many messages may wait; the next one is dropped and counted.
        dropped: is told of each message that is dropped after it was taken.

    Attributes:
        connection: the shell's own object for the connection; nothing here looks into it.
        expiry: how long it outlives its connection, seconds.
        shared: how many of its subscriptions are shared.
    """

    __slots__ = ("_inbound", "client_id", "connection", "expiry", "principal", "shared", "subscriptions", "uid")

    def __init__(
        self,
        client_id: str,
        principal: str,
        *,
        uid: str,
        queue_limit: int = 1000,
        dropped: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        super().__init__(queue_limit, dropped)
        self.client_id = client_id
        self.principal = principal
        self.uid = uid
        self.subscriptions: dict[str, Subscription] = {}
        self.shared = 0
        self.expiry = 0
        self.connection: Any = None
        self._inbound: Inbound | None = None

    @property
    def inbound(self) -> Inbound:
        """The receiving half."""
        if self._inbound is None:
            self._inbound = Inbound(self.uid)
        return self._inbound

    def detach(self) -> None:
        """The connection is gone, for both halves."""
        super().detach()
        if self._inbound is not None:
            self._inbound.lost()

    def wake(self, journal: Journal) -> None:
        """Have `out` sent, if nobody has yet."""
        if not self.dirty:
            journal.touch(self)
