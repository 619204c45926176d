"""The ingest of a broker that records traces: a span per message that is to be stored, from its PUBLISH to the bridge's answer.

A class of its own, so that a broker without traces does nothing more per message than before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from broker.core import Core
from broker.ingest import Ingest, Origin
from broker.router import Router
from chat import topics
from chat.topics import Kind as TopicKind
from chat.tracing import TRACEPARENT, TRACESTATE, Kind, Span, TraceContext, Tracer, read
from mqtt.codec import V5
from mqtt.messages import Message
from mqtt.outgoing import Outgoing
from mqtt.packets import Properties, Publish
from mqtt.reasons import Reason
from mqtt.session import Session

if TYPE_CHECKING:
    from broker.connection import Connection

MAX_OPEN = 10_000
"""Spans that wait for the bridge's answer: as many as it takes; the oldest are given up beyond it."""

_TEMPLATE = topics.send("{chat}", "{user}")
_TRAVELS = frozenset({TRACEPARENT, TRACESTATE})


@lru_cache(maxsize=65_536)
def _chat_of(topic: str) -> str | None:
    """The chat that a message is sent to; None of watermarks and cursors."""
    parsed = topics.parse(topic)
    return parsed.scope if parsed is not None and parsed.kind is TopicKind.SEND else None


class TracedIngest(Ingest):
    """`Ingest` with spans.

    Args:
        tracer: records them.
    """

    def __init__(self, core: Core, router: Router, filters: tuple[str, ...], tracer: Tracer) -> None:
        super().__init__(core, router, filters)
        self._tracer = tracer
        self._spans: dict[tuple[Connection, int], Span] = {}

    def forward(self, connection: Connection, packet: Publish) -> None:
        """As `Ingest.forward`. The bridge is told of our span, and never of one that somebody else claims."""
        chat = _chat_of(packet.topic)
        if chat is None:
            super().forward(connection, packet)
            return
        offered = _take_off(packet)
        span = self._begin(connection, packet, chat, offered)
        if span is not None:
            _put_on(packet, span.context)
            if packet.qos:
                self._keep((connection, packet.packet_id), span)
        super().forward(connection, packet)
        if span is not None and not packet.qos:
            span.end()

    def forward_will(self, session: Session, message: Message) -> None:
        """As `Ingest.forward_will`. A will has no span: nobody published it now."""
        pairs = message.properties.get("user_property")
        if pairs is not None:
            message.properties = message.properties.copy()
            message.properties["user_property"] = _others(pairs)
        super().forward_will(session, message)

    def _begin(self, connection: Connection, packet: Publish, chat: str, offered: TraceContext | None) -> Span | None:
        if offered is not None and connection.identity.service:
            span = self._tracer.start("publish", Kind.SERVER, offered)
        else:
            span = self._tracer.enter("publish", Kind.SERVER, offered)
        if span is not None:
            span.describe(
                {
                    "messaging.system": "mqtt",
                    "messaging.destination.template": _TEMPLATE,
                    "messaging.message.body.size": len(packet.payload),
                    "network.protocol.version": "5.0" if connection.version == V5 else "3.1.1",
                    "pabal.chat": chat,
                    "pabal.qos": packet.qos,
                    "pabal.dup": packet.dup,
                }
            )
        return span

    def _keep(self, key: tuple[Connection, int], span: Span) -> None:
        earlier = self._spans.pop(key, None)
        if earlier is None and len(self._spans) >= MAX_OPEN:
            earlier = self._spans.pop(next(iter(self._spans)))
        if earlier is not None:
            earlier.fail("unanswered")
            earlier.end()
        self._spans[key] = span

    def answered(self, outgoing: Outgoing, reason: int, properties: Properties) -> None:
        """As `Ingest.answered`."""
        self._end(outgoing.origin, reason)
        super().answered(outgoing, reason, properties)

    def _refuse(self, origin: Origin, said: Properties) -> None:
        self._end(origin, Reason.QUOTA_EXCEEDED)
        super()._refuse(origin, said)

    def _end(self, origin: Origin, reason: int) -> None:
        span = self._spans.pop((origin.connection, origin.packet_id), None)
        if span is None:
            return
        if reason >= Reason.UNSPECIFIED_ERROR:
            span.fail(f"0x{reason:02x}")
        span.end()


def _take_off(packet: Publish) -> TraceContext | None:
    """Take the context off a packet; None when it has none that is well-formed, and only one."""
    pairs = packet.properties.get("user_property")
    if pairs is None:
        return None
    found = [pair for pair in pairs if pair[0] in _TRAVELS]
    if not found:
        return None
    packet.properties["user_property"] = _others(pairs)
    parents = [value for name, value in found if name == TRACEPARENT]
    states = [value for name, value in found if name == TRACESTATE]
    return read(parents[0], ",".join(states)) if len(parents) == 1 else None


def _others(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in pairs if pair[0] not in _TRAVELS]


def _put_on(packet: Publish, context: TraceContext) -> None:
    properties = packet.properties.copy()  # what says nothing may be shared by many packets
    properties["user_property"] = [*properties.get("user_property", ()), *context.headers.items()]
    packet.properties = properties
