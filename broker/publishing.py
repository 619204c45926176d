"""What a client publishes, and what it acknowledges.

A PUBACK, PUBREC or PUBCOMP says that the client may forget: what the broker must not forget then is on disk before.
"""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING

from broker.policy import Action, Undecided
from broker.router import make_message
from broker.stats import SAMPLE
from chat.errors import Unavailable
from mqtt.aliases import ReceivedAliases
from mqtt.codec import V5, V311, encode_within
from mqtt.filters import is_topic_name
from mqtt.messages import Message
from mqtt.outgoing import Outgoing
from mqtt.packets import NONE, Properties, PubAck, PubAcks, PubComp, Publish, PubRec, PubRel
from mqtt.qos2 import Answer, Event, Heard, Held
from mqtt.reasons import ProtocolViolation, Reason, protocol_error
from mqtt.wire import PACKET_IDS

if TYPE_CHECKING:
    from broker.connection import Connection

_OURS = frozenset({Reason.UNSPECIFIED_ERROR, Reason.QUOTA_EXCEEDED, Reason.SERVER_BUSY, Reason.SERVER_UNAVAILABLE})
"""Refusals that are our fault, not the message's: a 3.1.1 client must not get a PUBACK for them, it would take it for success."""

_SUCCESS, _HEARD_PUBACK = Reason.SUCCESS, Heard.PUBACK
"""For what is asked per message: a global takes 6 ns, a member of an enum 50."""


def publish(connection: Connection, packet: Publish) -> Awaitable[None] | None:
    """A PUBLISH: may they, is it stored first, who gets it."""
    if packet.properties:
        _check_properties(connection, packet)
    if packet.qos == 2 and packet.packet_id in connection.session.inbound.held:
        _publish_again(connection, packet.packet_id)
        return None
    granted = connection.grants.get(packet.topic)
    if granted is None:
        return _publish_unknown(connection, packet)
    if not granted:
        _refuse_publish(connection, packet)
        return None
    if packet.properties and not valid_payload(packet.properties, packet.payload):
        _refuse_payload(connection, packet)
    else:
        _take(connection, packet)
    return None


def _take(connection: Connection, packet: Publish) -> None:
    """A PUBLISH that is allowed."""
    stats = connection.core.stats
    stats.published += 1
    stored_first = connection.broker.ingest.wants(packet.topic)
    if stored_first or packet.qos == 2 or connection.unanswered:
        _count_unanswered(connection, packet)
    if packet.qos == 2:
        connection.session.inbound.happens(packet.packet_id, Event.PUBLISH)
    if stored_first:
        connection.broker.ingest.forward(connection, packet)
        return
    core, publisher = connection.core, connection.session.client_id
    if packet.properties:
        service = connection.identity.service
        message = make_message(packet, publisher=publisher, service=service, now=core.now, stamps=core.stamps)
        if message.mark is not None:
            connection.broker.marks.watch(message)
    else:
        message = Message(packet.topic, packet.payload, packet.qos, packet.retain, publisher)
    delivered = stats.delivered
    journal = core.journal
    changes = 0 if journal is None else journal.changes
    receivers = connection.broker.router.publish(message)
    if packet.qos:
        reason = _SUCCESS if receivers else Reason.NO_MATCHING_SUBSCRIBERS
        if journal is not None and packet.qos == 1 and (journal.changes != changes or connection.unanswered):
            connection.unanswered += 1
            journal.after(partial(_answer_late, connection, packet.packet_id, reason, core.now))
            return
        _answer(connection, packet.packet_id, packet.qos, reason)
    if not stats.published % SAMPLE:
        stats.time_turn(core.clock, acknowledged=packet.qos > 0, delivered=stats.delivered > delivered, since=core.now)


def _check_properties(connection: Connection, packet: Publish) -> None:
    """What the properties of a PUBLISH may not say, whoever sends it; afterwards its topic is known."""
    if "subscription_identifier" in packet.properties:  # [MQTT-3.3.4-6]
        raise protocol_error("a subscription identifier in a PUBLISH of a client")
    if not valid_response_topic(packet.properties):  # [MQTT-3.3.2-14]
        raise protocol_error("a response topic with a wildcard")
    if "topic_alias" in packet.properties:
        if connection.aliases is None:
            connection.aliases = ReceivedAliases(connection.core.limits.topic_alias_maximum)
        connection.aliases.resolve(packet)


def valid_response_topic(properties: Properties) -> bool:
    """Whether one may publish to the response topic, if there is one."""
    return "response_topic" not in properties or is_topic_name(properties["response_topic"])


def valid_payload(properties: Properties, payload: bytes) -> bool:
    """Whether a payload that calls itself text (5.0 §3.3.2.3.2) is well-formed UTF-8."""
    if not properties.get("payload_format_indicator"):
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


def _refuse_payload(connection: Connection, packet: Publish) -> None:
    connection.core.stats.refused["payload_format"] += 1
    if packet.qos:
        said: Properties = {"reason_string": "the payload is not the UTF-8 that it says it is"}
        _answer(connection, packet.packet_id, packet.qos, Reason.PAYLOAD_FORMAT_INVALID, said)


def _publish_again(connection: Connection, packet_id: int) -> None:
    """A QoS 2 PUBLISH whose packet id is held: it was taken, and nobody gets it a second time [MQTT-4.3.3-10]."""
    if connection.session.inbound.happens(packet_id, Event.PUBLISH) is Answer.PUBREC:
        connection.answer_from_disk(PubRec(packet_id))


def released(connection: Connection, packet: PubRel) -> None:
    """A PUBREL: the packet id of a QoS 2 publish is free again [MQTT-4.3.3-11, -12]."""
    session = connection.session
    answer = session.inbound.happens(packet.packet_id, Event.PUBREL)
    connection.unreleased = max(0, connection.unreleased - 1)
    if answer is not Answer.PUBCOMP:
        connection.answer(PubComp(packet.packet_id, Reason.PACKET_IDENTIFIER_NOT_FOUND))
        return
    if session.journal is not None:
        session.journal.released(session, packet.packet_id)
    connection.answer_from_disk(PubComp(packet.packet_id))


def _count_unanswered(connection: Connection, packet: Publish) -> None:
    if not packet.qos:
        return
    limit = connection.receive_maximum
    if connection.version == V5:
        if connection.unanswered + connection.unreleased >= limit:  # [MQTT-3.3.4-7]
            raise ProtocolViolation(Reason.RECEIVE_MAXIMUM_EXCEEDED, f"more than {limit} unanswered")
    elif connection.unanswered >= limit:
        connection.pause("window")  # 3.1.1 knows no receive maximum: read on when some are answered


def _publish_unknown(connection: Connection, packet: Publish) -> Awaitable[None] | None:
    """A topic that this connection has not published to before."""
    topic = packet.topic
    limits = connection.core.limits
    if not topic:  # 5.0 §3.3.2.1; a topic with an alias has been given its name
        raise protocol_error("neither a topic name nor a topic alias")
    if not is_topic_name(topic) or len(topic) > limits.topic_length or topic.count("/") >= limits.topic_levels:
        raise ProtocolViolation(Reason.TOPIC_NAME_INVALID, "the topic name is too long or too deep")
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
        said = connection.explained("unavailable: try again", Unavailable.code)
        _answer(connection, packet.packet_id, packet.qos, Reason.QUOTA_EXCEEDED, said)
    else:
        connection.core.stats.dropped["undecided_qos0"] += 1


def _refuse_publish(connection: Connection, packet: Publish) -> None:
    connection.core.stats.refused["publish_not_authorized"] += 1
    reason = "not authorized to publish on this topic"
    notice = connection.core.policy.notice(connection.identity, packet.topic, packet.payload, reason)
    if packet.qos:
        said = connection.explained(reason, notice.code) if notice else None
        _answer(connection, packet.packet_id, packet.qos, Reason.NOT_AUTHORIZED, said)
    if notice is not None:  # behind the PUBACK, which says more to those who can read it
        connection.broker.send(notice.topic, notice.payload)


def _answer(
    connection: Connection, packet_id: int, qos: int, reason: int, properties: Properties | None = None
) -> None:
    """PUBACK or PUBREC. A refusal in a PUBREC ends the flow [MQTT-4.3.3-9]; 3.1.1 has none, and goes on to PUBREL."""
    session = connection.session
    if qos == 2:
        _answer_received(connection, packet_id, reason, properties)
        return
    if not connection.wants_reasons:
        properties = {}
    if connection.version == V311 or not (reason or properties):
        session.out += (b"\x40\x02", PACKET_IDS[packet_id])
    else:
        puback = PubAck(packet_id, reason, properties.copy() if properties else {})
        session.out.append(encode_within(puback, V5, connection.max_packet))
    if not session.dirty:
        connection.core.touch(session)


def _answer_received(connection: Connection, packet_id: int, reason: int, properties: Properties | None) -> None:
    session = connection.session
    packet = PubRec(packet_id, reason, properties.copy() if properties and connection.wants_reasons else {})
    if reason >= Reason.UNSPECIFIED_ERROR and connection.version == V5:
        session.inbound.happens(packet_id, Event.REFUSED)
        connection.answer(packet)
        return
    session.inbound.happens(packet_id, Event.TAKEN)
    connection.unreleased += 1
    if session.journal is not None:
        session.journal.held(session, packet_id)
    connection.answer_from_disk(packet)


def _answer_late(connection: Connection, packet_id: int, reason: Reason, since: float) -> None:
    connection.core.stats.settled(connection.core.clock, since)
    settle(connection, packet_id, reason, {})


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
    waits_for_pubrec = connection.session.inbound.held.get(packet_id) is Held.TAKING
    _answer(connection, packet_id, 2 if waits_for_pubrec else 1, reason, properties)


def acknowledged(connection: Connection, packet: PubAck) -> None:
    """A PUBACK."""
    _answered(connection, packet, _HEARD_PUBACK)


def acknowledged_all(connection: Connection, packet: PubAcks) -> None:
    """A run of plain PUBACKs."""
    core, session = connection.core, connection.session
    acknowledge, now, broker = session.acknowledge, core.now, connection.broker
    answered, note, principal = broker.ingest.answered, broker.marks.note, session.principal
    for packet_id in packet.packet_ids:
        outgoing = acknowledge(packet_id, now)
        if outgoing is None:
            continue
        if outgoing.origin is not None:
            answered(outgoing, _SUCCESS, NONE)
        elif outgoing.message.mark is not None:
            note(outgoing.message, principal)
    broker.ingest.relax(session)
    if session.out and not session.dirty:
        core.touch(session)


def received(connection: Connection, packet: PubRec) -> None:
    """A PUBREC: for those who wait, of QoS 2 it is what PUBACK is of QoS 1."""
    _answered(connection, packet, Heard.REFUSED if packet.reason >= Reason.UNSPECIFIED_ERROR else Heard.RECEIVED)


def completed(connection: Connection, packet: PubComp) -> None:
    """A PUBCOMP: the packet id of a QoS 2 delivery is free again."""
    core, session = connection.core, connection.session
    session.acknowledge(packet.packet_id, core.now, Heard.PUBCOMP)
    if session.out and not session.dirty:
        core.touch(session)


def _answered(connection: Connection, packet: PubAck | PubRec, heard: Heard) -> None:
    """A client has a message: somebody may wait for that (ingest), or be told of it (delivery receipts)."""
    core, session = connection.core, connection.session
    outgoing = session.acknowledge(packet.packet_id, core.now, heard)
    if session.out and not session.dirty:
        core.touch(session)
    if outgoing is not None:
        _tell(connection, outgoing, packet.reason, packet.properties)


def _tell(connection: Connection, outgoing: Outgoing, reason: int, properties: Properties) -> None:
    """Tell who waits for a client's answer what it was."""
    if outgoing.origin is not None:
        connection.broker.ingest.answered(outgoing, reason, properties)
        connection.broker.ingest.relax(connection.session)
    elif outgoing.message.mark is not None and reason < Reason.UNSPECIFIED_ERROR:
        connection.broker.marks.note(outgoing.message, connection.session.principal)
