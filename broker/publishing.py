"""What a client publishes, and what it acknowledges."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from broker.policy import Action, Undecided
from broker.router import make_message
from mqtt.codec import V5, V311, encode
from mqtt.filters import is_topic_name
from mqtt.packets import Properties, PubAck, Publish
from mqtt.reasons import ProtocolViolation, Reason
from mqtt.wire import PACKET_IDS

if TYPE_CHECKING:
    from broker.connection import Connection

MAX_QOS = 1
_OURS = frozenset({Reason.UNSPECIFIED_ERROR, Reason.QUOTA_EXCEEDED, Reason.SERVER_BUSY, Reason.SERVER_UNAVAILABLE})
"""Refusals that are our fault, not the message's: a 3.1.1 client must not get a PUBACK for them, it would take it for success."""


def publish(connection: Connection, packet: Publish) -> Awaitable[None] | None:
    """A PUBLISH: may they, is it stored first, who gets it."""
    if packet.qos > MAX_QOS:
        raise ProtocolViolation(Reason.QOS_NOT_SUPPORTED, "QoS 2 is not offered")
    if "topic_alias" in packet.properties:
        raise ProtocolViolation(Reason.TOPIC_ALIAS_INVALID, "no topic alias was offered")
    granted = connection.grants.get(packet.topic)
    if granted is None:
        return _publish_unknown(connection, packet)
    if not granted:
        _refuse_publish(connection, packet)
        return None
    connection.core.stats.published += 1
    if connection.broker.ingest.wants(packet.topic):
        _count_unanswered(connection, packet)
        connection.broker.ingest.forward(connection, packet)
        return None
    message = make_message(
        packet, publisher=connection.session.client_id, service=connection.identity.service, now=connection.core.now
    )
    receivers = connection.broker.router.publish(message)
    if packet.qos:
        _puback(connection, packet.packet_id, Reason.SUCCESS if receivers else Reason.NO_MATCHING_SUBSCRIBERS)
    return None


def _count_unanswered(connection: Connection, packet: Publish) -> None:
    if packet.qos and connection.unanswered >= connection.receive_maximum:
        if connection.version == V5:  # [MQTT-3.3.4-9]
            raise ProtocolViolation(
                Reason.RECEIVE_MAXIMUM_EXCEEDED, f"more than {connection.receive_maximum} unanswered"
            )
        connection.pause("window")  # 3.1.1 knows no receive maximum: read on when some are answered


def _publish_unknown(connection: Connection, packet: Publish) -> Awaitable[None] | None:
    """A topic that this connection has not published to before."""
    topic = packet.topic
    limits = connection.core.limits
    if not is_topic_name(topic) or len(topic) > limits.topic_length or topic.count("/") >= limits.topic_levels:
        raise ProtocolViolation(Reason.TOPIC_NAME_INVALID, "the topic name is empty, too long or too deep")
    if topic.startswith("$") and not connection.identity.service:
        connection.remember(topic, granted=False)
        return publish(connection, packet)
    known = connection.core.policy.known(connection.identity, Action.PUBLISH, topic)
    if known is None:
        return _publish_decided(connection, packet)
    connection.remember(topic, granted=known)
    return publish(connection, packet)


async def _publish_decided(connection: Connection, packet: Publish) -> None:
    try:
        (granted,) = await connection.decide(Action.PUBLISH, [packet.topic])
    except Undecided:
        _undecided(connection, packet)
        return
    if not connection.ready:
        return
    connection.remember(packet.topic, granted=granted)
    publish(connection, packet)
    # A refusal may be over in a second (an invitation under way): ask again next time.
    if not granted:
        connection.grants.pop(packet.topic, None)


def _undecided(connection: Connection, packet: Publish) -> None:
    """Nobody can say now whether this is allowed: the message is not taken, and may be sent again."""
    if connection.version == V311 and packet.qos:
        connection.close(Reason.SERVER_BUSY)
    elif packet.qos and connection.ready:
        _puback(connection, packet.packet_id, Reason.QUOTA_EXCEEDED, {"reason_string": "unavailable: try again"})


def _refuse_publish(connection: Connection, packet: Publish) -> None:
    connection.core.stats.refused["publish_not_authorized"] += 1
    reason = "not authorized to publish on this topic"
    notice = connection.core.policy.notice(connection.identity, packet.topic, packet.payload, reason)
    if packet.qos:
        _puback(connection, packet.packet_id, Reason.NOT_AUTHORIZED, {"reason_string": reason} if notice else {})
    if notice is not None:  # behind the PUBACK, which says more to those who can read it
        connection.broker.send(notice.topic, notice.payload)


def _puback(connection: Connection, packet_id: int, reason: int, properties: Properties | None = None) -> None:
    session = connection.session
    if not connection.wants_reasons:
        properties = {}
    if connection.version == V311 or not (reason or properties):
        session.out += (b"\x40\x02", PACKET_IDS[packet_id])
    else:
        session.out.append(encode(PubAck(packet_id, reason, properties or {}), V5))
    if not session.dirty:
        connection.core.touch(session)


def settle(connection: Connection, packet_id: int, reason: int, properties: Properties) -> None:
    """The bridge's answer to an ingested publish."""
    connection.unanswered -= 1
    if not connection.ready:
        return  # the client is gone, and will send again
    if "window" in connection.pauses and connection.unanswered <= connection.receive_maximum // 2:
        connection.resume("window")
    if reason >= Reason.UNSPECIFIED_ERROR:
        connection.core.stats.refused["ingest"] += 1
        if connection.version == V311 and reason in _OURS:
            connection.close(Reason.SERVER_BUSY)
            return
    _puback(connection, packet_id, reason, properties)


def acknowledged(connection: Connection, packet: PubAck) -> None:
    """A PUBACK: somebody may wait for it (ingest), or be told of it (delivery receipts)."""
    core, session = connection.core, connection.session
    outgoing = session.acknowledge(packet.packet_id, core.now)
    if session.out and not session.dirty:
        core.touch(session)
    if outgoing is None:
        return
    if outgoing.origin is not None:
        connection.broker.ingest.answered(outgoing, packet.reason, packet.properties)
        connection.broker.ingest.relax(session)
    elif outgoing.message.mark is not None and packet.reason < Reason.UNSPECIFIED_ERROR:
        connection.broker.marks.note(outgoing.message, session.principal)
