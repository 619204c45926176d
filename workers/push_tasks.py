"""The jobs of pushes, by the names of `chat.jobs`; thin, as those of `workers.tasks`."""

from __future__ import annotations

from typing import Any

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from chat.errors import Unavailable
from chat.jobs import PUSH_EVENT, PUSH_QUEUE, PUSH_WITHDRAW
from chat.tracing import read_from
from workers import metrics
from workers.job import Job, NothingDone
from workers.push.retry import pause
from workers.push.work import Comeback, Ending

_AFTER_HOLD = 0.25
"""Seconds by which a job comes later than what it waits for is over, so that it does not find it still held."""

_log = structlog.get_logger("jobs")


def register(app: Celery, ours: type[Job]) -> None:
    """Add the jobs to `app`.

    Args:
        ours: what every job of this worker is made of.
    """

    class PushJob(ours):  # type: ignore[misc, valid-type]  # made by the caller
        abstract = True

        def give_up(self, args: tuple[Any, ...], reason: str, *, tries: int) -> None:
            """Of many events one may be poison: each gets a job of its own, so that its neighbours pass (P9)."""
            if len(args) < 2:
                super().give_up(args, reason, tries=tries)
                return
            _log.warning("push.parted", events=len(args), reason=reason)
            for message_id in args:
                _send(self, (message_id,))

    @app.task(shared=False, name=PUSH_EVENT, bind=True, base=PushJob, max_retries=None)
    def push_event(self: Job, *message_ids: str) -> None:
        _push(self, message_ids)

    @app.task(shared=False, name=PUSH_WITHDRAW, bind=True, base=ours)
    def withdraw(self: Job, chat: str, user: str) -> None:
        self.process.run(lambda services: services.withdrawals.withdraw(chat, user))


def _push(task: Job, message_ids: tuple[str, ...]) -> None:
    number = task.request.retries + 1
    try:
        outcome = task.process.run(lambda services: services.delivery.push(message_ids, tries=number))
    except Unavailable as error:
        metrics.EVENTS.labels("unavailable").inc(len(message_ids))
        _log.warning("push.unavailable", events=len(message_ids), reason=error.reason, tries=number)
        if number < task.tries:
            raise task.retry(exc=error, countdown=pause(number, longest=task.longest)) from error
        return
    for ending, count in outcome.endings.items():
        metrics.EVENTS.labels(ending.value).inc(count)
    for comeback in outcome.comebacks:
        _come_back(task, comeback)
    if {ending for ending, count in outcome.endings.items() if count} == {Ending.BUSY}:
        raise NothingDone


def _come_back(task: Job, comeback: Comeback) -> None:
    """A job for later; what waits longer than a job may is left to the sweeper.

    A pause that the provider asked for may pass the longest one by the tenth that `pause` adds to it.
    """
    if comeback.after <= task.longest * 1.1:
        _send(task, comeback.message_ids, retries=comeback.tries, countdown=comeback.after + _AFTER_HOLD)


def _send(task: Job, message_ids: tuple[str, ...], **options: Any) -> None:
    """Another job, in the trace of this one."""
    trace = read_from(task.request.headers or {})
    headers = {} if trace is None else trace.headers
    try:
        task.apply_async(args=message_ids, queue=PUSH_QUEUE, headers=headers, retry=False, **options)
    except OperationalError:
        _log.warning("push.job_lost", events=len(message_ids))  # the sweeper finds their marks
