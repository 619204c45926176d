"""chat.tracing.Tracer: the twin, and OpenTelemetry's SDK with an exporter that keeps what it gets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id
from prometheus_client import CollectorRegistry

from adapters import otlp
from adapters.memory.tracing import MemoryTracer
from adapters.otlp import OtlpTracer
from chat.tracing import OFFERED_PER_SECOND, Kind, TraceContext, Tracer

PHONE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True, state="a=1")


class Seen(Protocol):
    """A span that has ended."""

    name: str
    parent: str
    kind: Kind
    error: str | None
    attributes: Mapping[str, Any]
    context: TraceContext


class Keeping(SpanExporter):
    """An exporter that keeps spans, refuses them, fails, or takes its time."""

    def __init__(self) -> None:
        self.got: list[ReadableSpan] = []
        self.batches: list[int] = []
        self.does: Callable[[], SpanExportResult] = lambda: SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self.does()
        self.batches.append(len(spans))
        self.got += spans
        return result


@dataclass
class Recorded:
    name: str
    parent: str
    kind: Kind
    error: str | None
    attributes: Mapping[str, Any]
    context: TraceContext


def _seen(span: ReadableSpan) -> Recorded:
    attributes, context = dict(span.attributes or {}), span.get_span_context()
    assert context is not None
    return Recorded(
        span.name,
        format_span_id(span.parent.span_id) if span.parent else "",
        Kind(span.kind.name.lower()),
        attributes.pop("error.type", None),  # type: ignore[arg-type]
        attributes,
        TraceContext(
            format_trace_id(context.trace_id),
            format_span_id(context.span_id),
            bool(context.trace_flags.sampled),
            context.trace_state.to_header(),
        ),
    )


@dataclass
class Subject:
    tracer: Tracer
    exporter: Keeping | None = None
    own: list[Any] = field(default_factory=list)

    def seen(self) -> list[Any]:
        """What has ended, once the tracer is closed."""
        self.tracer.close()
        if self.exporter is not None:
            return [_seen(span) for span in self.exporter.got]
        assert isinstance(self.tracer, MemoryTracer)
        return list(self.tracer.ended)


@pytest.fixture(params=["memory", "otlp"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[float], Subject]]:
    made: list[Subject] = []

    def build(ratio: float) -> Subject:
        if request.param == "memory":
            subject = Subject(MemoryTracer(ratio))
        else:
            exporter = Keeping()
            subject = Subject(OtlpTracer("http://127.0.0.1:9", ratio, "pabal-test", exporter=exporter), exporter)
        made.append(subject)
        return subject

    yield build
    for subject in made:
        subject.tracer.close()


def test_spans_stand_below_each_other(make: Callable[[float], Subject]) -> None:
    subject = make(1.0)
    whole = subject.tracer.enter("publish", Kind.SERVER, PHONE, {"pabal.chat": "g-1"})
    assert whole is not None
    assert (whole.context.trace_id, whole.context.sampled, whole.context.state) == (PHONE.trace_id, True, "a=1")
    elsewhere = subject.tracer.start("ingest", Kind.CONSUMER, whole.context, at=time.time_ns() - 1_000)
    assert elsewhere is not None
    part = elsewhere.child("store", Kind.CLIENT, {"size": 3})
    part.fail("TimeoutError")
    part.end()
    elsewhere.set("n", 1)
    elsewhere.describe({"of": "c1", "well": True})
    elsewhere.rename("taken in")
    elsewhere.end()
    whole.end()
    last, middle, first = subject.seen()
    assert [(one.name, one.parent, one.kind) for one in (first, middle, last)] == [
        ("publish", PHONE.span_id, Kind.SERVER),
        ("taken in", whole.context.span_id, Kind.CONSUMER),
        ("store", elsewhere.context.span_id, Kind.CLIENT),
    ]
    assert [(one.error, dict(one.attributes)) for one in (first, middle, last)] == [
        (None, {"pabal.chat": "g-1"}),
        (None, {"n": 1, "of": "c1", "well": True}),
        ("TimeoutError", {"size": 3}),
    ]
    assert {one.context.trace_id for one in (first, middle, last)} == {PHONE.trace_id}
    assert {one.context.state for one in (first, middle, last)} == {"a=1"}


def test_new_traces_have_ids_of_their_own(make: Callable[[float], Subject]) -> None:
    subject = make(1.0)
    one, other = (subject.tracer.enter("publish", Kind.SERVER) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.context.trace_id != other.context.trace_id
    one.end()
    (seen,) = subject.seen()
    assert (seen.parent, seen.context) == ("", one.context)


def test_what_is_not_sampled_is_not_recorded(make: Callable[[float], Subject]) -> None:
    subject = make(0.0)
    silent = PHONE._replace(sampled=False)
    assert subject.tracer.enter("publish", Kind.SERVER) is None
    assert subject.tracer.enter("publish", Kind.SERVER, silent) is None
    assert subject.tracer.start("ingest", Kind.CONSUMER, silent) is None
    taken = [subject.tracer.enter("publish", Kind.SERVER, PHONE) for _ in range(3 * OFFERED_PER_SECOND)]
    assert (
        OFFERED_PER_SECOND <= sum(span is not None for span in taken) <= 2 * OFFERED_PER_SECOND
    )  # a second may have begun
    ours = [subject.tracer.start("ingest", Kind.CONSUMER, PHONE) for _ in range(3 * OFFERED_PER_SECOND)]
    assert all(ours)  # between processes of ours it is decided already
    assert subject.seen() == []  # nothing has ended


# ---- the line to the collector


def _counts(registry: CollectorRegistry) -> tuple[float, ...]:
    outcomes = ("exported", "failed", "dropped")
    values = (registry.get_sample_value("pabal_trace_spans_total", {"outcome": outcome}) for outcome in outcomes)
    return tuple(value or 0.0 for value in values)


def _end(tracer: Tracer, count: int) -> None:
    for _ in range(count):
        span = tracer.start("one", Kind.INTERNAL, PHONE)
        assert span is not None
        span.end()


def test_what_a_collector_does_not_take_in_time_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MAX_WAITING", 10)
    monkeypatch.setattr(otlp, "BATCH", 4)
    registry, exporter, busy, go = CollectorRegistry(), Keeping(), threading.Event(), threading.Event()

    def hang() -> SpanExportResult:
        busy.set()
        go.wait(60)
        return SpanExportResult.SUCCESS

    exporter.does = hang
    tracer = OtlpTracer("http://127.0.0.1:9", 1.0, "pabal-test", registry=registry, exporter=exporter)
    _end(tracer, 4)
    assert busy.wait(60)
    _end(tracer, 13)
    assert _counts(registry) == (0, 0, 3)
    go.set()
    tracer.close()
    assert _counts(registry) == (14, 0, 3)
    assert exporter.batches == [4, 4, 4, 2]
    _end(tracer, 1)
    assert _counts(registry) == (14, 0, 4)


@pytest.mark.parametrize("fault", [None, ValueError("안녕")])
def test_a_collector_that_says_no_costs_its_batch_only(fault: Exception | None) -> None:
    registry, exporter = CollectorRegistry(), Keeping()

    def refuse() -> SpanExportResult:
        if fault is not None:
            raise fault
        return SpanExportResult.FAILURE

    exporter.does = refuse
    tracer = OtlpTracer("http://127.0.0.1:9", 1.0, "pabal-test", registry=registry, exporter=exporter)
    _end(tracer, 2)
    tracer.close()
    assert _counts(registry) == (0, 2, 0)


def test_nobody_waits_for_a_collector_that_is_not_there() -> None:
    registry = CollectorRegistry()
    tracer = OtlpTracer("http://127.0.0.1:9", 1.0, "pabal-test", registry=registry)
    _end(tracer, 1)
    tracer.close()
    assert sum(_counts(registry)) >= 1  # failed, or given up with the process
    assert _counts(registry)[0] == 0
