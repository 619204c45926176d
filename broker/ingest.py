"""Acknowledgement after store: publishes on the ingest topics wait for the PUBACK of the bridge (promise P1). Of QoS 2 it is
the PUBREC that waits: with it the message is ours. The bridge gets them with the QoS that it subscribed with.

    publisher ──PUBLISH──► broker ──PUBLISH (+ ingest id)──► one bridge of the share group
    publisher ◄──PUBACK─── broker ◄──PUBACK (stored, or refused with code and reason)──┘

When the bridge that has a message goes away, the message goes to another one, which may store it a second time: the
message id makes that harmless (P4); what has none of its own is given an ingest id, from which the bridge makes one. When none is left, an MQTT 5 publisher is told so (0x97); MQTT 3.1.1 knows no negative
PUBACK, so its connection is closed after a bounded wait, and it tries again.

Back-pressure: when too much waits for the bridge, publishers are no longer read until it has caught up.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from broker.core import Core
from broker.explain import explained
from broker.router import Router, make_message
from chat.errors import Unavailable
from chat.ids import is_device
from chat.plain import says_plain
from chat.services import INGEST
from mqtt.filters import matches
from mqtt.index import Match
from mqtt.messages import Message
from mqtt.outgoing import Outcome, Outgoing
from mqtt.packets import Properties, Publish
from mqtt.reasons import Reason
from mqtt.session import Session, Subscription

if TYPE_CHECKING:
    from broker.connection import Connection

_CACHE_TOPICS = 65_536
_SENT = Outcome.SENT  # for what is asked per message: a global takes 6 ns, a member of an enum 50


class Origin(NamedTuple):
    """Who waits for the bridge's answer."""

    connection: Connection
    packet_id: int
    since: float
    """When its PUBLISH came, seconds of the broker's clock."""


class Ingest:
    """Forwards publishes on the ingest topics and keeps their acknowledgement back.

    Args:
        core: shared state.
        router: delivers copies to other services that listen.
        filters: the ingest filters; none means that every publish is acknowledged at once.
    """

    def __init__(self, core: Core, router: Router, filters: tuple[str, ...]) -> None:
        self._core = core
        self._router = router
        self._filters = filters
        self._known: dict[str, bool] = {}
        self._paused: set[Connection] = set()
        self._orphans: dict[int, tuple[Message, Origin]] = {}
        self._orphan_number = 0

    def wants(self, topic: str) -> bool:
        """Whether a publish on `topic` waits for the bridge."""
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= _CACHE_TOPICS:
                self._known.clear()
            known = self._known[topic] = any(matches(text, topic) for text in self._filters)
        return known

    def forward(self, connection: Connection, packet: Publish) -> None:
        """Hand a publish to the bridge; the publisher's PUBACK follows with the bridge's."""
        core, session = self._core, connection.session
        message = make_message(packet, publisher=session.client_id, service=connection.identity.service, now=core.now)
        nameless = _nameless(connection.identity.id, message)
        if nameless:
            name = session.inbound.ingest_id(packet.packet_id, dup=packet.dup, keep=connection.receive_maximum)
            _stamp(message, name)
        if not packet.qos:
            self._hand_over(message, None)
            return
        connection.unanswered += 1
        origin = Origin(connection, packet.packet_id, core.now)
        if session.journal is not None and (nameless or connection.naming):
            connection.naming += 1
            if nameless:
                session.journal.named(session, packet.packet_id, session.inbound.number_of(packet.packet_id))
            session.journal.after(partial(self._named, message, origin))
        else:
            self._hand_over(message, origin)

    def _named(self, message: Message, origin: Origin) -> None:
        origin.connection.naming -= 1
        self._hand_over(message, origin)

    def forward_will(self, session: Session, message: Message) -> None:
        """Hand a will to the bridge: stamped like a publish, but nobody waits for its acknowledgement."""
        _stamp(message, session.inbound.ingest_id(0, dup=False, keep=self._core.limits.receive_maximum))
        self._hand_over(message, None)

    def _hand_over(self, message: Message, origin: Origin | None) -> None:
        message.expires_at = None  # it is on its way into the store; `expires_in` of the envelope is the chat's expiry
        match = self._core.index.match(message.topic)
        if match.entries:
            self._router.deliver(message, match, shared=False)
        self._dispatch(message, match, origin)

    def answered(self, outgoing: Outgoing, reason: int, properties: Properties) -> None:
        """The bridge has acknowledged, or refused, what it was sent."""
        connection, packet_id, since = outgoing.origin
        outgoing.origin = None  # of QoS 2, PUBREL and PUBCOMP are still to come
        self._core.stats.settled(self._core.clock, since)
        connection.settle(packet_id, reason, properties)

    def relax(self, bridge: Session) -> None:
        """Read publishers again once the bridge has caught up."""
        if self._paused and bridge.queued <= self._core.limits.ingest_queue // 2:
            paused, self._paused = self._paused, set()
            for connection in paused:
                connection.resume("ingest")

    def adopt(self) -> None:
        """A bridge is here: give it what waits for one."""
        orphans, self._orphans = self._orphans, {}
        for message, origin in orphans.values():
            self._dispatch(message, self._core.index.match(message.topic), origin)

    def abandon(self, bridge: Session) -> None:
        """A bridge went away: what it had not answered goes to another one."""
        for outgoing in bridge.take_origins():
            self._dispatch(outgoing.message, self._core.index.match(outgoing.message.topic), outgoing.origin)
        if self._paused:
            self.relax(bridge)

    def _dispatch(self, message: Message, match: Match[Session, Subscription], origin: Origin | None) -> None:
        for group in match.groups:
            bridge = group.choose(message.topic, _available)
            if bridge is not None:
                self._send(bridge, group.members[bridge], message, origin)
                return
        if origin is None:
            self._core.stats.dropped["no_bridge"] += 1
        elif origin.connection.answers_refusals:
            self._refuse(origin, explained("unavailable: no bridge", code=Unavailable.code))
        else:
            self._wait(message, origin)

    def _send(self, bridge: Session, subscription: Subscription, message: Message, origin: Origin | None) -> None:
        core = self._core
        qos = min(subscription.qos, message.qos)
        outcome = bridge.deliver(message, qos, core.now, origin=origin)
        if outcome is _SENT and bridge.dirty:  # what a busy bridge comes to
            core.stats.delivered += 1
            return
        self._router.count(bridge, outcome)
        if outcome is not Outcome.SENT and outcome is not Outcome.QUEUED and origin is not None:
            self._refuse(origin, explained("unavailable", code=Unavailable.code))
        elif bridge.queued > core.limits.ingest_queue and origin is not None:
            origin.connection.pause("ingest")
            self._paused.add(origin.connection)

    def _refuse(self, origin: Origin, said: Properties) -> None:
        """No bridge takes it now."""
        origin.connection.settle(origin.packet_id, Reason.QUOTA_EXCEEDED, said)

    def _wait(self, message: Message, origin: Origin) -> None:
        """For a publisher who can't be told no: hold the message for a while, then let the client try again."""
        self._orphan_number += 1
        number = self._orphan_number
        self._orphans[number] = (message, origin)

        def give_up() -> None:
            if self._orphans.pop(number, None) is not None:
                self._refuse(origin, {})

        self._core.later(self._core.limits.ingest_wait, give_up)


def _nameless(publisher: str, message: Message) -> bool:
    """Whether a publish may have no id of its own, so that only an ingest id can tell a repeat, also after a restart of ours.

    What must be an envelope brings its id, and an ingest id would be 3 us of work for nobody to read.
    """
    return is_device(publisher) or (
        "content_type" in message.properties and says_plain(message.properties["content_type"])
    )


def _stamp(message: Message, name: str) -> None:
    """Put an ingest id on a message that nobody has yet."""
    stamped: Properties = message.properties.copy()
    stamped["user_property"] = [*stamped.get("user_property", []), (INGEST, name)]
    message.properties = stamped


def _available(session: Session) -> bool:
    return session.connected
