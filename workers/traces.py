"""Spans of jobs: `push` for a push, else the name of the job. A pool process does one job at a time, so its span is that of the whole process, also
in the threads that push.

The context comes in the job's headers, from the bridge. A retry keeps them; the sweeper's jobs have none, and begin traces of their own: `messaging.message.id`
tells which message they are about, and its event has the first trace's id.
"""

from __future__ import annotations

from typing import Any

from celery import Task, signals
from prometheus_client import REGISTRY

from adapters.tracing import of_process, open_tracer
from chat.jobs import PUSH_EVENT
from chat.tracing import Kind, Span, Tracer, read_from
from workers.settings import WorkerSettings


class JobTraces:
    """The span of the job that this process does."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._tracer: Tracer | None = None
        self._span: Span | None = None

    def start(self, **_: Any) -> None:
        """In the child, after the fork: threads don't live through one."""
        self._tracer = open_tracer(self._settings, "worker", REGISTRY)

    def stop(self, **_: Any) -> None:
        """In the child, before it ends."""
        if self._tracer is not None:
            self._tracer.close()

    def begin(self, task: Task[Any, Any], args: Any, **_: Any) -> None:
        """A job begins."""
        if self._tracer is None:
            return
        name, request = str(task.name), task.request
        parent = read_from(request.headers or {})
        called = "push" if name == PUSH_EVENT else name
        if parent is not None:
            self._span = self._tracer.start(called, Kind.CONSUMER, parent)
        else:
            self._span = self._tracer.enter(called, Kind.CONSUMER)
        of_process(self._span)
        if self._span is None:
            return
        self._span.describe({"messaging.system": "celery", "pabal.job": name, "pabal.tries": request.retries + 1})
        if name == PUSH_EVENT and args:
            self._span.set("messaging.message.id", str(args[0]))

    def fail(self, **_: Any) -> None:
        """It failed."""
        if self._span is not None:
            self._span.fail("failed")

    def retry(self, **_: Any) -> None:
        """It comes back."""
        if self._span is not None:
            self._span.fail("retry")

    def end(self, **_: Any) -> None:
        """It is over, one way or the other."""
        span, self._span = self._span, None
        of_process(None)
        if span is not None:
            span.end()


def install(settings: WorkerSettings) -> None:
    """Have the jobs of this worker's pool processes recorded, if traces are on."""
    if not settings.otlp_endpoint:
        return
    traces = JobTraces(settings)
    # weak=False: nothing else keeps these.
    signals.worker_process_init.connect(traces.start, weak=False)
    signals.worker_process_shutdown.connect(traces.stop, weak=False)
    signals.task_prerun.connect(traces.begin, weak=False)
    signals.task_retry.connect(traces.retry, weak=False)
    signals.task_failure.connect(traces.fail, weak=False)
    signals.task_postrun.connect(traces.end, weak=False)
