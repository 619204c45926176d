"""What a client subscribes to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from broker.policy import Action, Undecided
from chat.errors import Unavailable
from mqtt.filters import is_topic_filter, split_shared
from mqtt.packets import Filter, Properties, SubAck, Subscribe, UnsubAck, Unsubscribe
from mqtt.reasons import ProtocolViolation, Reason, protocol_error
from mqtt.session import Subscription

if TYPE_CHECKING:
    from broker.connection import Connection


_WHY = {
    Reason.NOT_AUTHORIZED: "not authorized to subscribe to some of the filters",
    Reason.TOPIC_FILTER_INVALID: "some of the filters are no topic filters, too long or too deep",
    Reason.QUOTA_EXCEEDED: "the session has as many subscriptions as it may",
}
"""What the reason string of a SUBACK says of each refusal in it."""


def subscribe(connection: Connection, packet: Subscribe) -> Awaitable[None] | None:
    """A SUBSCRIBE: one answer per filter."""
    if len(packet.filters) > connection.core.limits.filters_per_subscribe:
        raise ProtocolViolation(Reason.QUOTA_EXCEEDED, "too many filters in one SUBSCRIBE")
    identity, policy = connection.identity, connection.core.policy
    texts = [item.topic_filter for item in packet.filters if _valid(connection, item)]
    if any(policy.known(identity, Action.SUBSCRIBE, text) is None for text in texts):
        return _subscribe_decided(connection, packet, texts)
    _grant(connection, packet, {text: bool(policy.known(identity, Action.SUBSCRIBE, text)) for text in texts})
    return None


async def _subscribe_decided(connection: Connection, packet: Subscribe, texts: list[str]) -> None:
    try:
        answers = await connection.decide(Action.SUBSCRIBE, texts)
    except Undecided:
        if connection.ready:
            said = connection.explained("rights can't be checked now: try again", Unavailable.code)
            connection.answer(SubAck(packet.packet_id, [Reason.UNSPECIFIED_ERROR] * len(packet.filters), said))
        return
    if connection.ready:
        _grant(connection, packet, dict(zip(texts, answers, strict=True)))


def _valid(connection: Connection, item: Filter) -> bool:
    try:
        shared = split_shared(item.topic_filter)
    except ValueError:
        return False
    if shared and item.no_local:  # [MQTT-3.8.3-4]
        raise protocol_error("no local on a shared subscription")
    text = shared.topic_filter if shared else item.topic_filter
    limits = connection.core.limits
    # The name of a shared subscription is kept too, so it counts.
    in_bounds = len(item.topic_filter) <= limits.topic_length and text.count("/") < limits.topic_levels
    return in_bounds and is_topic_filter(text)


def _grant(connection: Connection, packet: Subscribe, allowed: dict[str, bool]) -> None:
    """SUBACK first, then what is retained: clients expect that order, and the standard allows it."""
    identifiers = tuple(packet.properties.get("subscription_identifier", ()))
    reasons: list[int] = []
    fresh: list[tuple[Subscription, bool, int]] = []
    for item in packet.filters:
        reason = _reason(connection, item, allowed)
        reasons.append(reason)
        if reason >= Reason.UNSPECIFIED_ERROR:
            connection.core.stats.refused[f"subscribe_{Reason(reason).name.lower()}"] += 1
            continue
        shared = split_shared(item.topic_filter)
        text = shared.topic_filter if shared else item.topic_filter
        subscription = Subscription(text, reason, item.no_local, item.retain_as_published, identifiers)
        new = connection.core.subscribe(connection.session, item.topic_filter, subscription)
        if not shared:
            fresh.append((subscription, new, item.retain_handling))
    greeted = [subscription for subscription, new, handling in fresh if handling == 0 or (handling == 1 and new)]
    suback = SubAck(packet.packet_id, reasons, _said(connection, reasons))
    _answer(connection, suback, partial(_greet, connection, greeted))
    if connection.session.shared:
        connection.broker.ingest.adopt()


def _greet(connection: Connection, subscriptions: list[Subscription]) -> None:
    for subscription in subscriptions:
        connection.broker.router.send_retained(connection.session, subscription)
        connection.broker.sys_topics.greet(connection.session, subscription)


def _answer(connection: Connection, packet: SubAck | UnsubAck, then: Callable[[], None] = lambda: None) -> None:
    """What a session that outlives its connection is told to have, or to have no longer, holds after a restart too."""
    if connection.session.journal is None:
        connection.answer(packet)
        then()
    else:
        connection.answer_from_disk(packet, then)


def _said(connection: Connection, reasons: list[int]) -> Properties:
    """Why filters were refused, in the SUBACK's one reason string."""
    why = "; ".join(text for reason, text in _WHY.items() if reason in reasons)
    return connection.explained(why)


def _reason(connection: Connection, item: Filter, allowed: dict[str, bool]) -> int:
    granted = allowed.get(item.topic_filter)
    if granted is None:
        return Reason.TOPIC_FILTER_INVALID
    if not granted:
        return Reason.NOT_AUTHORIZED
    held = connection.session.subscriptions
    if item.topic_filter not in held and len(held) >= connection.core.limits.subscriptions:
        return Reason.QUOTA_EXCEEDED
    return item.qos


def unsubscribe(connection: Connection, packet: Unsubscribe) -> None:
    """An UNSUBSCRIBE: one answer per filter; what is under way still arrives."""
    reasons: list[int] = [
        Reason.SUCCESS if connection.core.unsubscribe(connection.session, text) else Reason.NO_SUBSCRIPTION_EXISTED
        for text in packet.filters
    ]
    _answer(connection, UnsubAck(packet.packet_id, reasons))
