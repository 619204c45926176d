"""A bridge that records traces: which spans a batch has, what goes on from them, and that its neighbours are left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from adapters.memory.tracing import MemorySpan, MemoryTracer
from adapters.tracing import current
from chat import topics
from chat.envelopes import Event
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.ports import Published
from chat.tracing import TraceContext

PHONE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True, state="a=1")
OTHER = TraceContext("1" * 32, "2" * 16, sampled=True)
TEXT = "비밀 이야기"


def by_name(tracer: MemoryTracer, trace: TraceContext = PHONE) -> dict[str, MemorySpan]:
    return {span.name: span for span in tracer.ended if span.context.trace_id == trace.trace_id}


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def test_a_message_has_its_spans_and_its_event_goes_on_from_them(make_world: Callable[..., Any]) -> None:
    tracer, id_ = MemoryTracer(), new_message_id()
    world = await make_world(tracer=tracer)
    assert (await world.send("c1", "user1", TEXT, id_=id_, trace=PHONE)).reason_code == 0
    await until(lambda: world.jobs.jobs and "ingest" in by_name(tracer))
    spans = by_name(tracer)
    ingest = spans["ingest"]
    assert {name: span.parent for name, span in spans.items()} == {
        "ingest": PHONE.span_id,
        "screen": ingest.context.span_id,
        "store": ingest.context.span_id,
        "fan_out": ingest.context.span_id,
    }
    assert all(span.error is None for span in spans.values())
    (sent,) = world.broker.on(topics.messages("c1"))
    assert sent.properties == {"mark": "1", "traceparent": spans["fan_out"].context.traceparent}
    assert json.loads(sent.payload)["trace_id"] == PHONE.trace_id
    (stored,) = await world.history("c1")
    assert stored.trace_id == PHONE.trace_id
    (job,) = world.jobs.jobs
    assert job.trace == ingest.context
    assert ingest.attributes["messaging.message.id"] == id_
    assert TEXT not in str([span.attributes for span in tracer.ended])


async def test_what_is_not_recorded_is_as_without_traces(make_world: Callable[..., Any]) -> None:
    tracer = MemoryTracer()
    world = await make_world(tracer=tracer)
    for trace in (None, PHONE._replace(sampled=False)):
        await world.send("c1", "user1", trace=trace)
    await world.phone.publish(topics.send("c1", "user1"), b"{}", properties={"traceparent": "00-no"})
    await until(lambda: len(world.jobs.jobs) == 2)
    assert [sent.properties for sent in world.broker.on(topics.messages("c1"))] == [{"mark": "1"}, {"mark": "2"}]
    assert [event.trace_id for event in await world.history("c1")] == [None, None]
    assert [job.trace for job in world.jobs.jobs] == [None, None]
    assert list(tracer.ended) == []


async def test_without_a_tracer_a_context_is_nobodys(make_world: Callable[..., Any]) -> None:
    world = await make_world()
    await world.send("c1", "user1", trace=PHONE)
    await until(lambda: world.jobs.jobs)
    (sent,) = world.broker.on(topics.messages("c1"))
    assert sent.properties == {"mark": "1"}
    assert "trace_id" not in json.loads(sent.payload)
    assert world.jobs.jobs[0].trace is None


async def test_a_neighbour_in_the_batch_is_left_alone(make_world: Callable[..., Any]) -> None:
    """Three gather while one is being written: two of them are recorded, in traces of their own."""
    tracer, held = MemoryTracer(), asyncio.Event()
    world = await make_world(tracer=tracer, bridge_batches=1)
    seen: list[Any] = []
    insert = world.messages.insert

    async def slow(events: Sequence[Event], **arguments: Any) -> Any:
        seen.append((current(), [(event.chat, event.trace_id) for event in events]))
        if len(seen) == 1:
            await held.wait()
        return await insert(events, **arguments)

    world.messages.insert = slow
    sends = [asyncio.ensure_future(world.send("c1", "user1", trace=trace)) for trace in (PHONE, None, OTHER)]
    await until(lambda: seen)
    alone = asyncio.ensure_future(world.send("c2", "user2"))
    await asyncio.sleep(0.01)
    held.set()
    await asyncio.gather(*sends, alone)
    await until(lambda: "ingest" in by_name(tracer) and "ingest" in by_name(tracer, OTHER))
    # The first was alone in its batch, and what its task says is of its trace; tasks that it has begun are not.
    assert seen[0][0] is not None
    assert [span for span, _ in seen[1:]] == [None] * (len(seen) - 1)
    written = [one for _, events in seen for one in events]
    assert [trace for chat, trace in written if chat == "c1"] == [PHONE.trace_id, None, OTHER.trace_id]
    assert [trace for chat, trace in written if chat == "c2"] == [None]
    properties = [dict(sent.properties) for sent in world.broker.on(topics.messages("c1"))]
    assert [one.get("traceparent", "").split("-")[1:2] for one in properties] == [
        [PHONE.trace_id],
        [],
        [OTHER.trace_id],
    ]
    assert [dict(sent.properties) for sent in world.broker.on(topics.messages("c2"))] == [{"mark": "1"}]


async def test_a_write_that_fails_is_told_by_its_type(make_world: Callable[..., Any]) -> None:
    tracer = MemoryTracer()
    world = await make_world(tracer=tracer)
    fails = [Unavailable(TEXT)]

    def before(_events: Sequence[Event]) -> None:
        if fails:
            raise fails.pop()

    world.messages.before = before
    await world.send("c1", "user1", trace=PHONE)
    await until(lambda: "ingest" in by_name(tracer))
    assert [span.error for span in tracer.ended if span.name == "store"] == ["Unavailable", None]
    assert by_name(tracer)["ingest"].error is None


async def test_a_refusal_is_told_by_its_code(make_world: Callable[..., Any]) -> None:
    tracer = MemoryTracer()
    world = await make_world(tracer=tracer)
    assert (await world.send("c1", "user3", trace=PHONE)).reason_code >= 0x80
    assert (await world.send("c1", "user1", raw=b"no", trace=OTHER)).reason_code >= 0x80
    await until(lambda: "ingest" in by_name(tracer) and "ingest" in by_name(tracer, OTHER))
    spans = by_name(tracer)
    assert (spans["ingest"].error, by_name(tracer, OTHER)["ingest"].error) == ("not_a_writer", "not_json")
    assert set(spans) == {"ingest", "screen"}


async def test_what_is_sent_again_has_the_trace_of_its_repeat(make_world: Callable[..., Any]) -> None:
    tracer, id_ = MemoryTracer(), new_message_id()
    world = await make_world(tracer=tracer)
    for trace in (PHONE, OTHER):
        await world.send("c1", "user1", id_=id_, trace=trace)
    await until(lambda: "ingest" in by_name(tracer, OTHER))
    assert [event.trace_id for event in await world.history("c1")] == [PHONE.trace_id]
    first, second = world.broker.on(topics.messages("c1"))
    assert OTHER.trace_id in second.properties["traceparent"]
    assert (first.payload, by_name(tracer, OTHER)["fan_out"].attributes["pabal.repeat"]) == (second.payload, True)


async def test_after_a_lost_link_an_event_still_knows_its_span(make_world: Callable[..., Any]) -> None:
    tracer = MemoryTracer()
    world = await make_world(tracer=tracer)
    refusals = [0x97]
    publish = world.broker.refuse

    def refuse(topic: str) -> Any:
        if topic == topics.messages("c1") and refusals:
            return Published(refusals.pop())
        return publish(topic)

    world.broker.refuse = refuse
    await world.send("c1", "user1", trace=PHONE)
    await until(lambda: "ingest" in by_name(tracer))
    (sent,) = world.broker.on(topics.messages("c1"))
    assert sent.properties["traceparent"] == by_name(tracer)["fan_out"].context.traceparent


async def test_what_nobody_foresaw_ends_every_span(make_world: Callable[..., Any]) -> None:
    tracer = MemoryTracer()
    world = await make_world(tracer=tracer)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(TEXT)

    world.bridge.ingest._fan_out.start = broken
    assert (await world.send("c1", "user1", trace=PHONE)).reason_code >= 0x80
    await until(lambda: "ingest" in by_name(tracer))
    assert {name: span.error for name, span in by_name(tracer).items()} == {
        "screen": None,
        "store": None,
        "fan_out": "RuntimeError",
        "ingest": "RuntimeError",
    }
