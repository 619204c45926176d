"""The job queue: Celery on Valkey. Here is what the two ends must agree on; tasks and worker settings are `workers/`.

Losing a job is allowed (sweepers find what was not done), holding up the one who sends it is not.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery, signals
from kombu.exceptions import OperationalError
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from redis.exceptions import RedisError

from chat.errors import Unavailable
from chat.jobs import MAINTENANCE_QUEUE
from chat.tracing import TraceContext

TRANSPORT: dict[str, Any] = {
    "global_keyprefix": "jobs:",
    "socket_timeout": 5.0,
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    # Seconds without traffic after which a connection is tried with a PING before it is used.
    "health_check_interval": 15,
}
"""How both ends reach the queue (Celery's `broker_transport_options`)."""

MAX_WAITING = 10_000
"""Jobs that wait in this process for the queue: a few seconds' worth; the newest are dropped beyond it."""

_CLOSE_SECONDS = 2.0

_log = structlog.get_logger("jobs")


def celery_app(name: str, url: str) -> Celery:
    """A Celery application on the queue at `url`; JSON only, no results.

    Raises nothing: it connects when it is used.
    """
    app = Celery(name, broker=url, set_as_current=False)
    app.conf.update(
        broker_transport_options=TRANSPORT,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_default_queue=MAINTENANCE_QUEUE,
        enable_utc=True,
    )
    signals.before_task_publish.connect(_note_time, weak=False, dispatch_uid="adapters.jobs.sent_at")
    return app


def _note_time(headers: dict[str, Any], **_: Any) -> None:
    """Each job says when it was sent, so that one can see for how long the oldest has waited (`adapters.valkey.queues`)."""
    headers["sent_at"] = time.time()


class CeleryJobQueue:
    """`chat.ports.JobQueue` on Celery.

    `enqueue` only puts the job into a bounded line; a thread of its own sends what is in line, because Celery's sending
    blocks. While Valkey does not answer, jobs are lost one by one, and from the line's end on at once; both are counted.

    Args:
        url: the Valkey that Celery uses.
        registry: where `pabal_jobs_total{outcome=sent|failed|dropped}` goes.
        max_waiting: length of the line.
    """

    def __init__(self, url: str, *, registry: CollectorRegistry = REGISTRY, max_waiting: int = MAX_WAITING) -> None:
        self._app = celery_app("pabal-sender", url)
        self._line: queue.Queue[tuple[str, tuple[str, ...], str, TraceContext | None] | None] = queue.Queue(max_waiting)
        self._jobs = Counter(
            "pabal_jobs", "Background jobs by what became of them here", ["outcome"], registry=registry
        )
        self._stopping = threading.Event()
        self._well = True
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    async def enqueue(self, name: str, *args: str, queue: str, trace: TraceContext | None = None) -> None:
        """Put a job in line; returns at once, whatever becomes of it."""
        self.put(name, *args, queue=queue, trace=trace)

    async def submit(self, name: str, *args: str, queue: str) -> None:
        """See `chat.ports.JobQueue.submit`: past the line."""
        if not await asyncio.to_thread(self._send, name, args, queue):
            raise Unavailable("the job queue does not answer")

    def put(self, name: str, *args: str, queue: str, trace: TraceContext | None = None) -> bool:
        """The same for callers without an event loop; False if the line is full and the job is dropped."""
        try:
            self._line.put_nowait((name, args, queue, trace))
        except _Full:
            self._jobs.labels("dropped").inc()
            return False
        return True

    def close(self) -> None:
        """Send what is in line for at most two seconds, drop the rest, and end the thread. It blocks for so long."""
        self._stopping.set()
        with suppress(_Full):
            self._line.put_nowait(None)  # wakes the thread when the line is empty
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            job = self._line.get()
            if job is None or (self._stopping.is_set() and not self._well):
                break
            self._send(*job)
        self._app.close()

    def _send(self, name: str, args: tuple[str, ...], to: str, trace: TraceContext | None = None) -> bool:
        headers = None if trace is None else trace.headers
        try:
            # One retry at once: after a restart of Valkey the pooled connection is found dead only by using it.
            policy = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
            self._app.send_task(
                name, args=args, queue=to, headers=headers, ignore_result=True, retry=True, retry_policy=policy
            )
        except (OperationalError, RedisError, OSError) as error:
            self._jobs.labels("failed").inc()
            if self._well:
                _log.warning("jobs.unavailable", reason=type(error).__name__)
            self._well = False
            return False
        self._jobs.labels("sent").inc()
        if not self._well:
            _log.info("jobs.available")
        self._well = True
        return True


_Full = queue.Full  # `queue` names a parameter above
