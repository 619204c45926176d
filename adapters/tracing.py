"""Traces in a process: the settings, the span that is current, and the tracer, if there is one. `adapters.otlp` records and exports.

Without `PABAL_OTLP_ENDPOINT` there is no tracer: OpenTelemetry is not even loaded, and nothing below does more than look at a variable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from structlog.typing import EventDict, WrappedLogger

from chat.tracing import NO_ATTRIBUTES, Attributes, Kind, Span

if TYPE_CHECKING:  # settings import this module, and the worker's must not load prometheus_client (`workers.__main__`)
    from prometheus_client import CollectorRegistry

    from adapters.otlp import OtlpTracer


class TracingSettings(BaseSettings):
    """What every process can be told about traces.

    Attributes:
        otlp_endpoint: the collector's OTLP/HTTP address, without `/v1/traces`; empty: nothing is recorded.
        trace_ratio: the share of new traces that is recorded. One in a hundred shows where time goes in a house that is busy, and costs
            about a hundredth of what recording everything does (docs/decisions/0030-traces.md).
    """

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    otlp_endpoint: str = ""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, text: str) -> str:
        """Raises ValueError, in pydantic's manner."""
        if not text:
            return ""
        parts = urlsplit(text)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("an OTLP endpoint is http://host:port or https://host:port, perhaps with a path")
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials of a collector go into OTEL_EXPORTER_OTLP_HEADERS, not into its address")
        return text.rstrip("/")


_EXPORTER = "opentelemetry.exporter.otlp.proto.http"


class TracesImpossible(ValueError):
    """Traces are asked for and can't be recorded. `args[0]` says what to do."""


def check(settings: TracingSettings) -> None:
    """Whether there is all that it takes: for a process that opens its tracer late.

    Raises:
        TracesImpossible: the packages are missing.
    """
    if settings.otlp_endpoint and any(find_spec(name) is None for name in ("opentelemetry.sdk", _EXPORTER)):
        raise TracesImpossible("PABAL_OTLP_ENDPOINT needs more packages: pip install -e '.[tracing]' in the checkout")


def open_tracer(
    settings: TracingSettings, process: str, registry: CollectorRegistry | None = None
) -> OtlpTracer | None:
    """The tracer of this process, with a thread that exports; None when traces are off. Call it after the process has forked.

    Args:
        process: `broker`, `bridge`, `api` or `worker`: its `service.name` is `pabal-…`.
        registry: where its metric goes; None: the caller registers `OtlpTracer.counter` itself.

    Raises:
        TracesImpossible: the packages are missing.
    """
    check(settings)
    if not settings.otlp_endpoint:
        return None
    from adapters.otlp import OtlpTracer  # noqa: PLC0415 - memory and time that only those pay who want traces

    return OtlpTracer(settings.otlp_endpoint, settings.trace_ratio, f"pabal-{process}", registry=registry)


_current: ContextVar[Span | None] = ContextVar("span", default=None)
_of_process: Span | None = None


def current() -> Span | None:
    """The span of what is being done here: of this task or thread, else of the whole process."""
    return _current.get() or _of_process


@contextmanager
def within(span: Span | None) -> Iterator[None]:
    """Make a span the current one of this task or thread."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def enter_task(span: Span | None) -> None:
    """Make a span the current one for what is left of this task, or none: a task begins with that of the task that made it."""
    _current.set(span)


def of_process(span: Span | None) -> None:
    """Make a span the current one of the process, with all its threads: for a process that does one thing at a time."""
    global _of_process  # noqa: PLW0603 - the point of it
    _of_process = span


def outgoing() -> dict[str, str] | None:
    """What a message takes along that is sent from here; None when nothing is being recorded."""
    span = current()
    return None if span is None else span.context.headers


@contextmanager
def part(name: str, kind: Kind, attributes: Attributes = NO_ATTRIBUTES) -> Iterator[Span | None]:
    """A part of the current span, as long as the block runs; None when there is none. What the block raises is told by its type."""
    whole = current()
    if whole is None:
        yield None
        return
    span = whole.child(name, kind, attributes)
    try:
        with within(span):
            yield span
    except BaseException as error:
        span.fail(type(error).__name__)
        raise
    finally:
        span.end()


def name_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: which trace an event belongs to."""
    span = current()
    if span is not None:
        event.setdefault("trace_id", span.context.trace_id)
    return event
