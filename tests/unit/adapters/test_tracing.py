"""Traces in a process: what is off costs nothing, what is on is set up strictly, and whose span is the current one."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError

from adapters import tracing
from adapters.memory.tracing import MemoryTracer
from adapters.tracing import TracesImpossible, TracingSettings, of_process, open_tracer, part, within
from chat.tracing import Kind

OFF = """
import sys, threading
import broker.app, bridge.__main__, api.app
from adapters.tracing import TracingSettings, open_tracer
assert open_tracer(TracingSettings(), "broker") is None
ours = ("adapters.otlp", "opentelemetry.exporter", "opentelemetry.sdk.trace", "google.protobuf")
print(sorted(name for name in sys.modules if name.startswith(ours)))
print([thread.name for thread in threading.enumerate()])
"""


def test_off_loads_nothing_and_starts_no_thread() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines(), done.returncode) == (["[]", "['MainThread']"], 0), done.stderr


def test_on_has_one_thread_until_it_is_closed() -> None:
    before = set(threading.enumerate())
    tracer = open_tracer(TracingSettings(otlp_endpoint="http://127.0.0.1:9"), "bridge")
    assert tracer is not None
    (thread,) = set(threading.enumerate()) - before
    assert (thread.name, thread.daemon) == ("traces", True)
    tracer.close()
    thread.join(60)
    assert not thread.is_alive()


def test_without_the_packages_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_EXPORTER", "opentelemetry.nowhere")
    with pytest.raises(TracesImpossible, match=r"\[tracing\]"):
        open_tracer(TracingSettings(otlp_endpoint="http://127.0.0.1:9"), "bridge")
    assert open_tracer(TracingSettings(), "bridge") is None


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("", ""),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("https://collector.example.org/otlp/", "https://collector.example.org/otlp"),
    ],
)
def test_an_endpoint_is_a_web_address(text: str, taken: str) -> None:
    assert TracingSettings(otlp_endpoint=text).otlp_endpoint == taken


@pytest.mark.parametrize(
    "text", ["collector:4318", "grpc://c:4317", "http://", "http://u:secret@c:4318", "http://c/?key=1", "http://c/#x"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="otlp_endpoint"):
        TracingSettings(otlp_endpoint=text)


@pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
def test_a_ratio_is_a_share(ratio: float) -> None:
    with pytest.raises(ValidationError, match="trace_ratio"):
        TracingSettings(trace_ratio=ratio)


def test_the_current_span_is_that_of_the_task_or_thread_or_else_of_the_process() -> None:
    tracer = MemoryTracer()
    mine, whole = tracer.enter("mine", Kind.INTERNAL), tracer.enter("whole", Kind.INTERNAL)
    assert mine is not None
    assert tracing.current() is None
    assert tracing.outgoing() is None
    with within(mine):
        assert tracing.outgoing() == mine.context.headers
        with within(None):
            assert tracing.current() is None
    of_process(whole)
    try:
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(tracing.current).result() is whole
        with within(mine):
            assert tracing.current() is mine
    finally:
        of_process(None)
    assert tracing.current() is None


def test_a_part_is_a_span_where_there_is_one() -> None:
    tracer = MemoryTracer()
    with part("fcm send", Kind.CLIENT) as nothing:
        assert nothing is None
    whole = tracer.enter("push", Kind.CONSUMER)
    assert whole is not None
    with within(whole), part("fcm send", Kind.CLIENT, {"a": 1}) as span:
        assert span is tracing.current()
    with within(whole), pytest.raises(ValueError, match="비밀"), part("fcm send", Kind.CLIENT):
        raise ValueError("비밀")
    assert [(one.parent, one.error) for one in tracer.ended] == [
        (whole.context.span_id, None),
        (whole.context.span_id, "ValueError"),
    ]
    assert "비밀" not in str(tracer.ended)
