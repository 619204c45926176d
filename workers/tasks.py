"""The jobs, by the names of `chat.jobs`. Thin: they take ids, call a service, and turn its errors into Celery's retries."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from celery import Celery

from chat import jobs
from chat.jobs import PARK, PUSH_EVENT, PUSH_TOGETHER, QUEUE_OF, SWEEP_PUSHES
from chat.models import DeadLetter
from workers import metrics, push_tasks
from workers.job import Job, park
from workers.process import PoolProcess, Services

_log = structlog.get_logger("jobs")

Run = Callable[[Services], Awaitable[int]]


async def _told(services: Services) -> int:
    broadcast = await services.broadcaster.run() if services.broadcaster is not None else None
    if broadcast is None:
        return 0
    _log.info("broadcast.told", id=broadcast.id, told=broadcast.told, state=broadcast.state.value)
    return broadcast.told


REGULAR: Mapping[str, Run] = {
    jobs.ERASE_EXPIRED: lambda services: services.eraser.run(),
    jobs.RETAIN: lambda services: services.retention.run(),
    jobs.COMPACT_RECEIPTS: lambda services: services.compaction.run(),
    jobs.TIDY_TOKENS: lambda services: services.hygiene.run(),
    jobs.ROLL_UP: lambda services: services.roll_up.run(),
    jobs.AUDIT_UNREAD: lambda services: services.unread_audit.run(),
    jobs.BROADCAST: _told,
    jobs.VERIFY_AUDIT_LOG: lambda services: services.audit_log.run(),
}
"""What the clock starts: bounded per run, going on where the last run ended. Each tells how many rows it did."""


def register(app: Celery, process: PoolProcess, *, tries: int, longest_wait: float) -> None:
    """Add the jobs to `app`.

    Args:
        process: runs their coroutines.
        tries: after so many a job that fails is a dead letter; in an outage of Mongo or Valkey a push is left to the sweeper.
        longest_wait: seconds. Celery keeps a waiting job unacknowledged, so that it must come back well before Valkey hands it
            out a second time; what has to wait longer is left to the sweeper.
    """

    class OurJob(Job):
        abstract = True

    class RegularJob(OurJob):
        abstract = True
        regular = True

    OurJob.process, OurJob.tries, OurJob.longest = process, tries, longest_wait

    push_tasks.register(app, OurJob)

    @app.task(shared=False, name=PARK, bind=True, base=OurJob, max_retries=None)
    def park_item(_self: Job, name: str, why: str, item: str) -> None:
        letter = _unfit(name, why, base64.b64decode(item))
        process.run(lambda services: park(services, letter))

    @app.task(shared=False, name=SWEEP_PUSHES, bind=True, base=RegularJob)
    def sweep_pushes(_self: Job) -> None:
        def send(message_ids: Sequence[str]) -> None:
            app.send_task(PUSH_EVENT, args=tuple(message_ids), queue=QUEUE_OF[PUSH_EVENT])

        process.run(lambda services: _noted(services, SWEEP_PUSHES, lambda services: _sweep(services, send)))

    for name, run in REGULAR.items():
        app.task(shared=False, name=name, base=RegularJob)(_regular(process, name, run))


def _regular(process: PoolProcess, name: str, run: Run) -> Callable[[], None]:
    def job() -> None:
        rows = process.run(lambda services: _noted(services, name, run))
        if rows:
            _log.info("job.done", job=name, rows=rows)

    return job


async def _noted(services: Services, name: str, run: Run) -> int:
    """Do the work, and note that it was done: an alert looks at how long ago that was."""
    began = time.monotonic()
    rows = await run(services)
    seconds = time.monotonic() - began
    await services.runs.ran(name, at=datetime.now(UTC), rows=rows, seconds=round(seconds, 3))
    metrics.JOB_ROWS.labels(name).inc(rows)
    return rows


async def _sweep(services: Services, send: Callable[[Sequence[str]], None]) -> int:
    lost = await services.sweep.lost()
    for start in range(0, len(lost), PUSH_TOGETHER):
        send(lost[start : start + PUSH_TOGETHER])
    if lost:
        _log.warning("sweep.found", events=len(lost))
    return len(lost)


def _unfit(name: str, why: str, item: bytes) -> DeadLetter:
    """The dead letter of something that was in a queue and is no job: the same for the same bytes.

    With a name it can be sent again, should there be such a job one day; its arguments are then those that it has.
    """
    return DeadLetter(
        id=f"job:{name}:{hashlib.sha256(item).hexdigest()[:32]}",
        topic="",
        payload=item,
        reason=why,
        tries=1,
        at=datetime.now(UTC),
        kind="job",
    )


def schedule(every: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`. A run that nobody took before the next one is due is forgotten.

    Args:
        every: seconds by the names of jobs.
    """
    return {
        name: {
            "task": name,
            "schedule": seconds,
            "options": {"queue": QUEUE_OF[name], "expires": max(1.0, seconds)},
        }
        for name, seconds in every.items()
    }
