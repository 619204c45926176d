"""Spans of jobs, on real Celery signals: a job that is done, one that comes back, one that fails, and whose trace it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals

from adapters.memory.tracing import MemoryTracer
from adapters.tracing import current
from chat.jobs import PUSH_EVENT
from chat.tracing import TraceContext
from workers.settings import WorkerSettings
from workers.traces import JobTraces, install

BRIDGE = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True, state="a=1")
MESSAGE = "01890a5d-ac96-774b-bcce-b302099a8057"
SIGNALS = (
    "worker_process_init",
    "worker_process_shutdown",
    "task_prerun",
    "task_retry",
    "task_failure",
    "task_postrun",
)


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryTracer]:
    """Installed as in a worker; in the place of the exporter is the twin."""
    made, before = MemoryTracer(0.5, chance=lambda: 0.7), {name: list(_receivers(name)) for name in SIGNALS}
    monkeypatch.setattr("workers.traces.open_tracer", lambda *_: made)
    install(WorkerSettings(mongo_url="mongodb://nowhere", otlp_endpoint="http://127.0.0.1:9"))
    (start,) = [one for one in _receivers("worker_process_init") if one not in before["worker_process_init"]]
    start(sender=None)
    yield made
    for name in SIGNALS:
        getattr(signals, name).receivers[:] = [
            entry for entry in getattr(signals, name).receivers if entry[1] in before[name]
        ]


def _receivers(name: str) -> Iterator[Any]:
    for _, receiver in getattr(signals, name).receivers or ():
        yield receiver


@pytest.fixture(scope="module")
def app() -> Celery:
    made = Celery("test", broker="memory://", set_as_current=False)

    @made.task(shared=False, name=PUSH_EVENT, bind=True, max_retries=1, throws=(ValueError,))
    def push(self: Any, what: str) -> Any:
        if what == "again":
            raise self.retry(countdown=0)
        if what == "broken":
            raise ValueError("비밀")
        span = current()
        return None if span is None else span.context.trace_id

    return made


def run(app: Celery, what: str, headers: dict[str, str] | None = None) -> Any:
    return app.tasks[PUSH_EVENT].apply(args=(what,), headers=headers)


def test_a_job_goes_on_with_the_trace_of_its_message(tracer: MemoryTracer, app: Celery) -> None:
    assert run(app, MESSAGE, BRIDGE.headers).result == BRIDGE.trace_id
    (span,) = tracer.ended
    assert (span.name, span.context.trace_id, span.parent, span.error) == (
        "push",
        BRIDGE.trace_id,
        BRIDGE.span_id,
        None,
    )
    assert span.attributes["messaging.message.id"] == MESSAGE
    assert current() is None


def test_a_job_without_one_is_recorded_as_often_as_any_other(tracer: MemoryTracer, app: Celery) -> None:
    assert run(app, MESSAGE).result is None
    assert run(app, MESSAGE, BRIDGE._replace(sampled=False).headers).result is None
    assert list(tracer.ended) == []
    tracer._sampler._chance = lambda: 0.2
    assert run(app, MESSAGE).result == tracer.ended[0].context.trace_id


def test_each_try_of_a_job_is_a_span_of_the_same_trace(tracer: MemoryTracer, app: Celery) -> None:
    run(app, "again", BRIDGE.headers)
    assert [(span.parent, span.error, span.attributes["pabal.tries"]) for span in tracer.ended] == [
        (BRIDGE.span_id, "retry", 1),
        (BRIDGE.span_id, "failed", 2),
    ]


def test_of_a_failure_nothing_is_told(tracer: MemoryTracer, app: Celery) -> None:
    run(app, "broken", BRIDGE.headers)
    (span,) = tracer.ended
    assert span.error == "failed"
    assert "비밀" not in str(span)


def test_settings_load_no_metrics() -> None:
    """prometheus_client looks for its directory when it is imported, and the worker sets that once it has read its settings."""
    script = "import sys, workers.settings; print('prometheus_client' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_off_nothing_is_connected() -> None:
    before = {name: len(getattr(signals, name).receivers) for name in SIGNALS}
    install(WorkerSettings(mongo_url="mongodb://nowhere"))
    assert {name: len(getattr(signals, name).receivers) for name in SIGNALS} == before
    assert JobTraces(WorkerSettings(mongo_url="mongodb://nowhere"))._tracer is None
