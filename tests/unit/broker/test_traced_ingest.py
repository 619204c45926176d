"""A broker that records traces: whose context is believed, what the bridge is told, and when a span ends."""

from __future__ import annotations

import pytest

from adapters.memory.tracing import MemoryTracer
from broker import traced_ingest
from mqtt.packets import Packet, PubAck, Publish, Will
from tests.unit.broker.conftest import CHAT, BuildHouse, House

SEND = f"chats/{CHAT}/send/user1"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


async def traced(build: BuildHouse, ratio: float = 0.0, **limits: object) -> tuple[House, MemoryTracer]:
    tracer = MemoryTracer(ratio)
    house = build(tracer, **limits)
    await house.join("user1")
    return house, tracer


def message(number: int, *pairs: tuple[str, str], qos: int = 1, topic: str = SEND) -> Publish:
    block = {"user_property": list(pairs)} if pairs else {}
    return Publish(topic, b"{}", qos, packet_id=number if qos else 0, properties=block)  # type: ignore[arg-type]


def told(packets: list[Packet]) -> list[tuple[int, list[tuple[str, str]]]]:
    return [(one.packet_id, one.properties.get("user_property", [])) for one in packets if isinstance(one, Publish)]


async def test_the_bridge_goes_on_with_our_span_and_it_ends_with_its_answer(build: BuildHouse) -> None:
    house, tracer = await traced(build)
    bridge, phone = await house.bridge(), await house.client("user1")
    phone.put(message(1, ("a", "1"), ("traceparent", PARENT), ("tracestate", "v=1"), ("b", "2")))
    ((packet_id, properties),) = told(await bridge.take())
    assert properties[:2] == [("a", "1"), ("b", "2")]
    assert list(tracer.ended) == []
    await bridge.send(PubAck(packet_id))
    (span,) = tracer.ended
    assert properties[2:] == [("traceparent", span.context.traceparent), ("tracestate", "v=1")]
    assert (span.name, span.context.trace_id, span.parent, span.error) == ("publish", TRACE, SPAN, None)
    assert span.attributes["pabal.chat"] == CHAT
    assert await phone.take() == [PubAck(1)]


@pytest.mark.parametrize(
    "pairs",
    [
        [("traceparent", "00-no-no-01")],
        [("traceparent", PARENT[:-2] + "00")],
        [("traceparent", PARENT), ("traceparent", PARENT)],
        [("tracestate", "v=1")],
    ],
)
async def test_a_claim_that_is_not_used_is_not_passed_on(build: BuildHouse, pairs: list[tuple[str, str]]) -> None:
    house, tracer = await traced(build)
    bridge, phone = await house.bridge(), await house.client("user1")
    phone.put(message(1, ("a", "1"), *pairs))
    ((packet_id, properties),) = told(await bridge.take())
    assert properties == [("a", "1")]
    await bridge.send(PubAck(packet_id))
    assert list(tracer.ended) == []


async def test_a_share_of_what_3_1_1_publishes_is_recorded(build: BuildHouse) -> None:
    house, tracer = await traced(build, 1.0)
    bridge, phone = await house.bridge(), await house.client("user1", version=4)
    phone.put(message(1), message(0, qos=0))
    (first, properties), _ = told(await bridge.take())
    (without_answer,) = tracer.ended  # of QoS 0 nobody waits for an answer
    await bridge.send(PubAck(first, 0x99))
    _, span = tracer.ended
    assert properties == [("traceparent", span.context.traceparent)]
    assert (span.parent, span.error, without_answer.error) == ("", "0x99", None)
    assert span.attributes["network.protocol.version"] == "3.1.1"


async def test_without_a_bridge_the_span_fails(build: BuildHouse) -> None:
    house, tracer = await traced(build, 1.0, ingest_wait=5)
    five, three = await house.client("user1"), await house.client("user1:old", version=4)
    await five.send(message(1))
    await three.send(message(1))
    assert [span.error for span in tracer.ended] == ["0x97"]
    house.tick(6)
    assert [span.error for span in tracer.ended] == ["0x97", "0x97"]


async def test_a_message_that_goes_to_another_bridge_keeps_its_span(build: BuildHouse) -> None:
    house, tracer = await traced(build, 1.0)
    one, phone = await house.bridge(), await house.client("user1")
    phone.put(message(1))
    ((_, properties),) = told(await one.take())
    other = await house.bridge("svc-bridge:2")
    one.vanish()
    ((packet_id, again),) = told(await other.take())
    await other.send(PubAck(packet_id))
    assert again == properties == [("traceparent", tracer.ended[0].context.traceparent)]
    assert len(tracer.ended) == 1


async def test_spans_that_nobody_answers_are_bounded(build: BuildHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced_ingest, "MAX_OPEN", 2)
    house, tracer = await traced(build, 1.0)
    await house.bridge()
    phone = await house.client("user1")
    await phone.send(message(1), message(2), message(3))
    assert [span.error for span in tracer.ended] == ["unanswered"]


async def test_a_will_brings_no_context_of_its_client(build: BuildHouse) -> None:
    house, tracer = await traced(build, 1.0)
    bridge = await house.bridge()
    pairs = [("traceparent", PARENT), ("a", "b"), ("tracestate", "v=1")]
    will = Will(SEND, b"{}", qos=1, properties={"user_property": pairs})
    phone = await house.client("user1", will=will)
    phone.vanish()
    ((packet_id, properties),) = told(await bridge.take())
    assert [name for name, _ in properties] == ["a", "ingest"]
    await bridge.send(PubAck(packet_id))
    assert list(tracer.ended) == []


async def test_watermarks_and_cursors_are_left_alone(build: BuildHouse) -> None:
    house, tracer = await traced(build, 1.0)
    bridge, phone = await house.bridge(), await house.client("user1")
    for topic in (f"chats/{CHAT}/ack/user1", "users/user1/sync"):
        phone.put(message(1, ("traceparent", PARENT), topic=topic))
        ((packet_id, properties),) = told(await bridge.take())
        assert properties == [("traceparent", PARENT)]
        await bridge.send(PubAck(packet_id))
    assert list(tracer.ended) == []


async def test_bytes_on_the_link_are_the_same_where_nothing_is_recorded(build: BuildHouse) -> None:
    plain, said = message(1), message(2, ("a", "1"), ("traceparent", PARENT))

    async def link(house: House, *packets: Publish) -> bytes:
        bridge, phone = await house.bridge(), await house.client("user1")
        phone.put(*packets)
        await house.rest()
        return bytes(bridge.written)

    off = build()
    await off.join("user1")
    on, _ = await traced(build)
    # What a client says of traces is its own affair without traces, as any user property is.
    assert await link(off, plain, said) == (
        _publish(1, b"") + _publish(2, b"\x26\x00\x01a\x00\x011" + b"\x26\x00\x0btraceparent\x00\x37" + PARENT.encode())
    )
    assert await link(on, plain) == _publish(1, b"")


def _publish(packet_id: int, block: bytes) -> bytes:
    """A PUBLISH of QoS 1 on SEND, written by hand."""
    body = len(SEND).to_bytes(2, "big") + SEND.encode() + packet_id.to_bytes(2, "big") + bytes((len(block),)) + block
    return bytes((0x32, len(body) + 2)) + body + b"{}"
