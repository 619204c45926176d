"""The jobs, by the names of `chat.jobs`. Thin: they take ids, call a service, and turn its errors into Celery's retries."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery, Task

from chat.broadcasts import Broadcast
from chat.errors import Unavailable
from chat.jobs import (
    BROADCAST,
    ERASE_EXPIRED,
    MAINTENANCE_QUEUE,
    PUSH_EVENT,
    PUSH_QUEUE,
    ROLL_UP,
    SWEEP_PUSHES,
    VERIFY_AUDIT_LOG,
)
from chat.pushes import PushRetry
from workers import metrics
from workers.process import PoolProcess, Services
from workers.push.retry import PushWait, pause

_AFTER_HOLD = 0.25
"""Seconds by which a retry comes later than the hold on its event ends, so that it does not find it still held."""

_log = structlog.get_logger("jobs")


def register(app: Celery, process: PoolProcess, *, tries: int, longest_wait: float) -> None:
    """Add the jobs to `app`.

    Args:
        process: runs their coroutines.
        tries: after so many tries in an outage of Mongo or Valkey a job is left to the sweeper.
        longest_wait: seconds. Celery keeps a waiting job unacknowledged, so that it must come back well before Valkey hands it
            out a second time; what has to wait longer is left to the sweeper.
    """

    @app.task(name=PUSH_EVENT, bind=True, max_retries=None)
    def push_event(self: Task[Any, Any], message_id: str) -> None:
        number = self.request.retries + 1
        try:
            ending = process.run(lambda services: services.delivery.push(message_id, tries=number))
        except PushRetry as retry:
            waits = isinstance(retry, PushWait)
            metrics.EVENTS.labels("wait" if waits else "retry").inc()
            after = retry.after if retry.after is not None else pause(number, longest=longest_wait)
            tell = _log.debug if waits else _log.warning
            tell("push.retry", message_id=message_id, reason=str(retry), tries=number, after=round(after, 1))
            _retry(self, retry, after, longest_wait)
        except Unavailable as error:
            metrics.EVENTS.labels("unavailable").inc()
            _log.warning("push.unavailable", message_id=message_id, reason=error.reason, tries=number)
            if number < tries:
                _retry(self, error, pause(number, longest=longest_wait), longest_wait)
        else:
            metrics.EVENTS.labels(ending.value).inc()

    @app.task(name=SWEEP_PUSHES, bind=True)
    def sweep_pushes(_self: Task[Any, Any]) -> None:
        try:
            lost = process.run(lambda services: services.sweep.lost())
        except Unavailable as error:
            _log.warning("sweep.unavailable", reason=error.reason)  # the next sweep is seconds away
            return
        for message_id in lost:
            push_event.apply_async(args=(message_id,), queue=PUSH_QUEUE)
        if lost:
            _log.warning("sweep.found", events=len(lost))

    _register_maintenance(app, process)
    _register_checks(app, process)


def _register_maintenance(app: Celery, process: PoolProcess) -> None:
    @app.task(name=ERASE_EXPIRED, bind=True)
    def erase_expired(_self: Task[Any, Any]) -> None:
        try:
            erased = process.run(lambda services: services.eraser.run())
        except Unavailable as error:
            _log.warning("erase.unavailable", reason=error.reason)
            return
        if erased:
            _log.info("erase.done", events=erased)

    @app.task(name=ROLL_UP, bind=True)
    def roll_up(_self: Task[Any, Any]) -> None:
        try:
            rows, done = process.run(lambda services: services.roll_up.run())
        except Unavailable as error:
            _log.warning("statistics.unavailable", reason=error.reason)
            return
        if rows or not done:
            _log.info("statistics.rolled", rows=rows, done=done)

    @app.task(name=BROADCAST, bind=True)
    def tell(_self: Task[Any, Any]) -> None:
        try:
            broadcast = process.run(_told)
        except Unavailable as error:
            _log.warning("broadcast.unavailable", reason=error.reason)
            return
        if broadcast is not None:
            _log.info("broadcast.told", id=broadcast.id, told=broadcast.told, state=broadcast.state.value)


def _register_checks(app: Celery, process: PoolProcess) -> None:
    @app.task(name=VERIFY_AUDIT_LOG, bind=True)
    def check_audit(_self: Task[Any, Any]) -> None:
        try:
            process.run(lambda services: services.audit_log.run())
        except Unavailable as error:
            _log.warning("audit.unavailable", reason=error.reason)


async def _told(services: Services) -> Broadcast | None:
    return await services.broadcaster.run() if services.broadcaster is not None else None


def _retry(task: Task[Any, Any], error: Exception, after: float, longest: float) -> None:
    """Come back after a while, or leave it to the sweeper, which looks at the event when its hold is over.

    A pause asked for by the provider may pass `longest` by the tenth that `pause` adds to it.
    """
    if after <= longest * 1.1:
        raise task.retry(exc=error, countdown=after + _AFTER_HOLD)


def schedule(
    sweep_every: float, erase_every: float, statistics_every: float, broadcast_every: float, audit_log_every: float
) -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`. A run that nobody took before the next one is due is forgotten."""
    return {
        "sweep pushes": _regular(SWEEP_PUSHES, sweep_every),
        "erase expired": _regular(ERASE_EXPIRED, erase_every),
        "roll up statistics": _regular(ROLL_UP, statistics_every),
        "broadcasts": _regular(BROADCAST, broadcast_every),
        "check audit log": _regular(VERIFY_AUDIT_LOG, audit_log_every),
    }


def _regular(task: str, seconds: float) -> dict[str, Any]:
    options = {"queue": MAINTENANCE_QUEUE, "expires": max(1.0, seconds)}
    return {"task": task, "schedule": seconds, "options": options}
