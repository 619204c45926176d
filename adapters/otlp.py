"""`chat.tracing.Tracer` on OpenTelemetry's SDK, exported by OTLP over HTTP (protobuf).

Spans that have ended wait in a bounded line; a thread sends them, a few hundred at a time, and gives a batch up when the collector has not taken it
within ten seconds. Whatever the collector does, nobody else waits: what finds the line full is dropped and counted. Nothing here records
an exception: its text may quote what people wrote.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from importlib.metadata import version
from logging import CRITICAL, getLogger

import requests
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import Tracer as OtelTracer
from prometheus_client import CollectorRegistry, Counter

from chat.tracing import NO_ATTRIBUTES, Attributes, Kind, Sampler, Span, TraceContext, Value

MAX_WAITING = 8_192
"""Spans that wait for the exporter, about 2 KB each: two seconds' worth of a busy process that records everything."""

BATCH = 512
"""Spans in one request: some 100 KB."""

EVERY = 1.0
"""Seconds that a span waits at most for others to go with."""

SEND_SECONDS = 10.0
"""For one batch, tries included."""

CLOSE_SECONDS = 2.0
"""For what is left when the process ends."""

_KINDS = {kind: SpanKind[kind.name] for kind in Kind}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

_log = structlog.get_logger("traces")


def spans_counter(registry: CollectorRegistry | None = None) -> Counter:
    """What became of the spans of this process."""
    counter = Counter("pabal_trace_spans", "Spans recorded, by what became of them", ["outcome"], registry=registry)
    for outcome in ("exported", "failed", "dropped"):  # the first of something rare must not be a new time series
        counter.labels(outcome)
    return counter


class OtlpTracer:
    """Records spans and sends them to a collector.

    Args:
        endpoint: `http://host:port`; spans go to `/v1/traces` there. OTEL_EXPORTER_OTLP_HEADERS (credentials) and OTEL_RESOURCE_ATTRIBUTES are heeded.
        ratio: see `Sampler`.
        service: `service.name`.
        registry: where the counter goes; None: nowhere yet.
        exporter: for tests; the one for OTLP over HTTP when omitted.

    Attributes:
        counter: `pabal_trace_spans_total{outcome=exported|failed|dropped}`.
    """

    def __init__(
        self,
        endpoint: str,
        ratio: float,
        service: str,
        *,
        registry: CollectorRegistry | None = None,
        exporter: SpanExporter | None = None,
    ) -> None:
        getLogger("opentelemetry").setLevel(CRITICAL)  # it logs each batch that fails; our line says it once
        self.counter = spans_counter(registry)
        self._sampler = Sampler(ratio, clock=time.monotonic)
        resource = Resource.create({"service.name": service, "service.version": version("pabal")})
        # The decision is the sampler's above, made before anything is built.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._line = _Line(exporter or _exporter(endpoint), self.counter)
        self._provider.add_span_processor(self._line)
        self._tracer = self._provider.get_tracer("pabal")

    def enter(
        self, name: str, kind: Kind, offered: TraceContext | None = None, attributes: Attributes = NO_ATTRIBUTES
    ) -> Span | None:
        """See `chat.tracing.Tracer.enter`."""
        if not self._sampler.takes(offered):
            return None
        return self._begin(name, kind, Context() if offered is None else _remote(offered), attributes, None)

    def start(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        at: int | None = None,
    ) -> Span | None:
        """See `chat.tracing.Tracer.start`."""
        return self._begin(name, kind, _remote(parent), attributes, at) if parent.sampled else None

    def _begin(self, name: str, kind: Kind, context: Context, attributes: Attributes, at: int | None) -> Span:
        span = self._tracer.start_span(name, context, _KINDS[kind], attributes, start_time=at)
        return _OtlpSpan(self._tracer, span)

    def close(self) -> None:
        """See `chat.tracing.Tracer.close`."""
        self._provider.shutdown()


def _exporter(endpoint: str) -> OTLPSpanExporter:
    session = requests.Session()
    session.trust_env = False  # a collector stands nearby, not behind the proxy for the world
    return OTLPSpanExporter(
        f"{endpoint}/v1/traces", timeout=SEND_SECONDS, compression=Compression.Gzip, session=session
    )


def _remote(parent: TraceContext) -> Context:
    """A span of another process as OpenTelemetry's context."""
    context = SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=_SAMPLED,
        trace_state=TraceState.from_header([parent.state]) if parent.state else None,
    )
    return set_span_in_context(NonRecordingSpan(context), Context())


class _OtlpSpan:
    """`chat.tracing.Span` on one of OpenTelemetry's."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: OtelTracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def context(self) -> TraceContext:
        own = self._span.get_span_context()
        state = own.trace_state.to_header() if own.trace_state else ""
        return TraceContext(format_trace_id(own.trace_id), format_span_id(own.span_id), sampled=True, state=state)

    def child(
        self, name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes = NO_ATTRIBUTES, *, at: int | None = None
    ) -> Span:
        context = set_span_in_context(self._span, Context())
        span = self._tracer.start_span(name, context, _KINDS[kind], attributes, start_time=at)
        return _OtlpSpan(self._tracer, span)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def describe(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, why: str) -> None:
        self._span.set_attribute("error.type", why)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class _Line(SpanProcessor):
    """Spans that have ended, and the thread that sends them. OpenTelemetry's own counts what it drops only for a meter of its own."""

    def __init__(self, exporter: SpanExporter, counter: Counter) -> None:
        self._exporter = exporter
        self._exported, self._failed, self._dropped = (
            counter.labels(outcome) for outcome in ("exported", "failed", "dropped")
        )
        self._waiting: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._well = True
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended; from any thread."""
        if self._closed or len(self._waiting) >= MAX_WAITING:
            self._dropped.inc()
            return
        self._waiting.append(span)
        if len(self._waiting) >= BATCH:
            self._wake.set()

    def shutdown(self) -> None:
        """Send what is left for at most two seconds; as much again for a batch under way to be given up."""
        self._closed = True  # before the thread wakes
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)
        self._exporter.shutdown()  # breaks off a pause between two tries
        self._thread.join(CLOSE_SECONDS)
        self._dropped.inc(len(self._waiting))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Part of the base class; nobody asks for it here."""
        del timeout_millis
        return not self._waiting

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(EVERY)
            self._wake.clear()
            closing = self._closed  # looked at before the line is, so that nothing that came in time is left in it
            while self._waiting:
                self._send([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])

    def _send(self, spans: list[ReadableSpan]) -> None:
        try:
            taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - a span that can't be encoded must not end the thread
            taken = False
        (self._exported if taken else self._failed).inc(len(spans))
        if taken is not self._well:
            self._well = taken
            if taken:
                _log.info("traces.available")
            else:
                _log.warning("traces.unavailable", spans=len(spans))
