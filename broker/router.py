"""Where a message goes: retained store, subscribers, shared groups."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

from broker.core import DROP_NAMES, Core
from chat.services import INGEST, MARK
from mqtt.index import Group, Match
from mqtt.messages import Message
from mqtt.outgoing import Outcome
from mqtt.packets import Properties, Publish
from mqtt.session import Session, Subscription

TRAVELS = ("payload_format_indicator", "message_expiry_interval", "content_type", "response_topic", "correlation_data")
"""Publish properties that go on to subscribers as they are (5.0 §3.3.2.3); user properties go on filtered."""

_OURS = frozenset({MARK, INGEST})
"""User properties that our processes put on for each other: taken off whatever anybody else publishes to them."""


def make_message(packet: Publish, *, publisher: str, service: bool, now: float, stamps: bool = True) -> Message:
    """The message that a PUBLISH brought.

    Args:
        packet: with its topic resolved.
        publisher: client id.
        service: whether its stamps are believed.
        now: the broker's clock.
        stamps: whether this broker has services, so that their stamps are nobody's to send; where it has none, every user
            property goes on [MQTT-3.3.2-17].
    """
    if not packet.properties:
        return Message(packet.topic, packet.payload, packet.qos, packet.retain, publisher)
    if service and (mark := _mark_alone(packet.properties)) is not None:
        return Message(packet.topic, packet.payload, packet.qos, packet.retain, publisher, mark=mark)
    properties, mark = _travelling(packet.properties, service=service, stamps=stamps)
    lifetime = packet.properties.get("message_expiry_interval")
    return Message(
        packet.topic,
        packet.payload,
        qos=packet.qos,
        retain=packet.retain,
        properties=properties,
        expires_at=None if lifetime is None else now + lifetime,
        mark=mark,
        publisher=publisher,
    )


def _mark_alone(properties: Properties) -> int | None:
    """The mark, where nothing else is said: of everything that the bridge fans out."""
    pairs = properties.get("user_property")
    if pairs is None or len(pairs) != 1 or len(properties) != 1:
        return None
    name, value = pairs[0]
    return int(value) if name == MARK and value.isdecimal() else None


def _travelling(properties: Properties, *, service: bool, stamps: bool) -> tuple[Properties, int | None]:
    kept: Properties = {}
    for name in TRAVELS:
        if name in properties:
            kept[name] = properties[name]  # type: ignore[literal-required]  # names come from the table above
    pairs = properties.get("user_property", [])
    mark = next((value for name, value in pairs if name == MARK), None) if service else None
    others = [pair for pair in pairs if pair[0] not in _OURS] if stamps else pairs
    if others:
        kept["user_property"] = others
    return kept, int(mark) if mark is not None and mark.isdecimal() else None


_SENT, _QUEUED = Outcome.SENT, Outcome.QUEUED
"""For what is asked per delivery: a global takes 6 ns, a member of an enum 50."""


class Gate(Protocol):
    """Somebody who has a say in every single delivery."""

    def admits(self, session: Session, topic: str, qos: int, deliver: Callable[[], None]) -> bool:
        """True: deliver it now, with that QoS. False: it is dropped, or `deliver` is called later."""
        ...


class Router:
    """Delivers messages to whoever subscribed.

    Attributes:
        gate: is asked before each delivery; None while a granted subscription says all.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self.gate: Gate | None = None

    def publish(self, message: Message) -> int:
        """Keep it if it is to be retained, and deliver it; how many sessions got it."""
        return self.deliver(message, self.keep(message))

    def keep(self, message: Message) -> Match[Session, Subscription]:
        """The first half of `publish`: the retained store, and who subscribes to the topic."""
        if message.retain:
            self._retain(message)
        return self._core.index.match(message.topic)

    def _retain(self, message: Message) -> None:
        core = self._core
        if not core.retained.put(message):
            core.stats.dropped["retained_full"] += 1
        elif core.journal is not None:
            if message.payload and message.publisher:  # the broker's own (presence, $SYS) are about this process
                core.journal.retained(message)
            else:
                core.journal.not_retained(message.topic)

    def deliver(self, message: Message, match: Match[Session, Subscription], *, shared: bool = True) -> int:
        """Deliver to the sessions of a match; how many there were."""
        now = self._core.now
        entries = _merged(match.entries, message.publisher) if match.overlaps else match.entries
        count = 0
        for session, subscription in entries:
            if subscription.no_local and session.client_id == message.publisher:
                continue
            self.deliver_one(session, subscription, message, now)
            count += 1
        if shared:
            for group in match.groups:
                member = group.choose(message.topic, _available) or next(iter(group.members))
                self.deliver_one(member, group.members[member], message, now, share=group)
                count += 1
        return count

    def deliver_one(
        self,
        session: Session,
        subscription: Subscription,
        message: Message,
        now: float,
        *,
        share: Group[Session, Subscription] | None = None,
    ) -> None:
        """Deliver to one session under one subscription, of which `share` is the group."""
        retain = message.retain and subscription.retain_as_published
        qos = message.qos if message.qos < subscription.qos else subscription.qos  # noqa: FURB136 - min() costs a call
        if self.gate is not None:
            later = partial(self._admitted, session, subscription, message, retain=retain, share=share)
            if not self.gate.admits(session, message.topic, qos, later):
                return
        outcome = session.deliver(message, qos, now, retain=retain, identifiers=subscription.identifiers, share=share)
        if outcome is _SENT and session.dirty:  # what a fan-out and a busy receiver come to
            self._core.stats.delivered += 1
        elif outcome is not _QUEUED:
            self.count(session, outcome)

    def _admitted(
        self,
        session: Session,
        subscription: Subscription,
        message: Message,
        *,
        retain: bool,
        share: Group[Session, Subscription] | None = None,
    ) -> None:
        """Deliver what the gate has let through, late perhaps."""
        qos, now = min(message.qos, subscription.qos), self._core.clock()
        identifiers = subscription.identifiers
        self.count(session, session.deliver(message, qos, now, retain=retain, identifiers=identifiers, share=share))

    def redistribute(self, session: Session) -> None:
        """A member of shared subscriptions has gone: what it has not acknowledged goes to a member that is there."""
        if not any(_somebody(outgoing.share) for outgoing in (*session.inflight.values(), *session.queue)):
            return
        for outgoing in list(session.take_shared()):
            group, message = outgoing.share, outgoing.message
            member = group.choose(message.topic, _available)
            if member is None:
                session.keep(outgoing)
            else:
                self.deliver_one(member, group.members[member], message, self._core.now, share=group)

    def count(self, session: Session, outcome: Outcome) -> None:
        """Account for what became of a delivery, and see that the session's output goes out."""
        if outcome is _SENT:
            self._core.stats.delivered += 1
            if not session.dirty:
                self._core.touch(session)
        elif outcome is not _QUEUED:
            self._core.stats.dropped[DROP_NAMES[outcome]] += 1

    def send_retained(self, session: Session, subscription: Subscription) -> None:
        """Give a new subscription what is retained below its filter, with RETAIN set [MQTT-3.3.1-8]."""
        now = self._core.now
        identifiers = subscription.identifiers
        for message in self._core.retained.find(subscription.topic_filter, now):
            qos = min(subscription.qos, message.qos)
            if self.gate is not None:
                later = partial(self._admitted, session, subscription, message, retain=True)
                if not self.gate.admits(session, message.topic, qos, later):
                    continue
            self.count(session, session.deliver(message, qos, now, retain=True, identifiers=identifiers))


def _available(session: Session) -> bool:
    return session.connected


def _somebody(group: Group[Session, Subscription] | None) -> bool:
    return group is not None and any(member.connected for member in group.members)


def _merged(entries: Collection[tuple[Session, Subscription]], publisher: str) -> list[tuple[Session, Subscription]]:
    """One entry per session when several of its filters match: the highest QoS, every identifier [MQTT-3.3.4-2, -4]."""
    merged: dict[Session, Subscription] = {}
    for session, subscription in entries:
        if subscription.no_local and session.client_id == publisher:
            continue
        other = merged.get(session)
        merged[session] = subscription if other is None else other.merged_with(subscription)
    return list(merged.items())
