"""The jobs, by the names of `chat.jobs`. Thin: they take ids, call a service, and turn its errors into Celery's retries."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery, Task

from chat.broadcasts import Broadcast
from chat.errors import Unavailable
from chat.jobs import BROADCAST, ERASE_EXPIRED, MAINTENANCE_QUEUE, ROLL_UP, SWEEP_PUSHES, VERIFY_AUDIT_LOG
from workers import push_tasks
from workers.process import PoolProcess, Services

_log = structlog.get_logger("jobs")


def register(app: Celery, process: PoolProcess, *, tries: int, longest_wait: float) -> None:
    """Add the jobs to `app`.

    Args:
        process: runs their coroutines.
        tries: after so many tries in an outage of Mongo or Valkey a job is left to the sweeper.
        longest_wait: seconds. Celery keeps a waiting job unacknowledged, so that it must come back well before Valkey hands it
            out a second time; what has to wait longer is left to the sweeper.
    """
    push_tasks.register(app, process, tries=tries, longest_wait=longest_wait)
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
