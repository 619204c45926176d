"""The jobs of pushes, by the names of `chat.jobs`; thin, as those of `workers.tasks`."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery, Task
from kombu.exceptions import OperationalError

from chat.errors import Unavailable
from chat.jobs import PUSH_EVENT, PUSH_QUEUE, PUSH_TOGETHER, PUSH_WITHDRAW, SWEEP_PUSHES
from workers import metrics
from workers.process import PoolProcess
from workers.push.retry import pause
from workers.push.work import Comeback

_AFTER_HOLD = 0.25
"""Seconds by which a job comes later than what it waits for is over, so that it does not find it still held."""

_log = structlog.get_logger("jobs")


def register(app: Celery, process: PoolProcess, *, tries: int, longest_wait: float) -> None:
    """Add the jobs to `app`; see `workers.tasks.register`."""
    _register_push(app, process, tries=tries, longest_wait=longest_wait)
    _register_others(app, process)


def _register_push(app: Celery, process: PoolProcess, *, tries: int, longest_wait: float) -> None:
    @app.task(name=PUSH_EVENT, bind=True, max_retries=None)
    def push_event(self: Task[Any, Any], *message_ids: str) -> None:
        number = self.request.retries + 1
        try:
            outcome = process.run(lambda services: services.delivery.push(message_ids, tries=number))
        except Unavailable as error:
            metrics.EVENTS.labels("unavailable").inc(len(message_ids))
            _log.warning("push.unavailable", events=len(message_ids), reason=error.reason, tries=number)
            if number < tries:
                raise self.retry(exc=error, countdown=pause(number, longest=longest_wait)) from error
            return
        for ending, count in outcome.endings.items():
            metrics.EVENTS.labels(ending.value).inc(count)
        for comeback in outcome.comebacks:
            _come_back(self, comeback, longest_wait)


def _come_back(task: Task[Any, Any], comeback: Comeback, longest: float) -> None:
    """A job for later; what waits longer than a job may is left to the sweeper.

    A pause that the provider asked for may pass `longest` by the tenth that `pause` adds to it.
    """
    if comeback.after > longest * 1.1:
        return
    options: dict[str, Any] = {"retries": comeback.tries, "countdown": comeback.after + _AFTER_HOLD, "retry": False}
    try:
        task.apply_async(args=comeback.message_ids, queue=PUSH_QUEUE, **options)
    except OperationalError:
        _log.warning("push.job_lost", events=len(comeback.message_ids))  # the sweeper finds their marks


def _register_others(app: Celery, process: PoolProcess) -> None:
    @app.task(name=PUSH_WITHDRAW, bind=True)
    def withdraw(_self: Task[Any, Any], chat: str, user: str) -> None:
        try:
            process.run(lambda services: services.withdrawals.withdraw(chat, user))
        except Unavailable as error:
            _log.warning("withdraw.unavailable", reason=error.reason)

    @app.task(name=SWEEP_PUSHES, bind=True)
    def sweep_pushes(self: Task[Any, Any]) -> None:
        try:
            lost = process.run(lambda services: services.sweep.lost())
        except Unavailable as error:
            _log.warning("sweep.unavailable", reason=error.reason)  # the next sweep is seconds away
            return
        for start in range(0, len(lost), PUSH_TOGETHER):
            self.app.send_task(PUSH_EVENT, args=tuple(lost[start : start + PUSH_TOGETHER]), queue=PUSH_QUEUE)
        if lost:
            _log.warning("sweep.found", events=len(lost))
