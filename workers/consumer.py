"""What the worker's main process takes from the queues: jobs of ours go on to the pool, anything else becomes a dead letter.

Celery itself logs such a thing with all that is in it, and forgets it. Here it is handed over as a job of its own (`chat.jobs.PARK`), because the
main process must not wait for a database; only then is it acknowledged.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from typing import Any

import structlog
from celery.worker.consumer import Consumer
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError

from chat.jobs import PARK, QUEUE_OF
from workers import metrics

MAX_KEPT = 65_536
"""Bytes of it that are kept."""

_log = structlog.get_logger("jobs")


def unfit(message: Any, known: Collection[str]) -> str | None:
    """Why a message is no job of ours; None when it is one. Ours have a known name and ids as arguments.

    Args:
        message: kombu's.
        known: names of jobs.
    """
    name = name_of(message)
    if name is None:
        return "it names no job"
    if name not in known:
        return "there is no such job"
    try:
        payload = message.decode()
    except Exception as error:  # noqa: BLE001 - kombu's codecs raise whatever they like
        return f"it can't be decoded: {type(error).__name__}"
    if not isinstance(payload, list | tuple) or len(payload) != 3:
        return "it is not of Celery's protocol 2"
    args, named, _ = payload
    if not isinstance(args, list | tuple) or not all(isinstance(arg, str) for arg in args) or named:
        return "its arguments are no ids"
    return None


def name_of(message: Any) -> str | None:
    """What it calls itself."""
    headers = message.headers
    name = headers.get("task") if isinstance(headers, dict) else None
    return name if isinstance(name, str) else None


class JobConsumer(Consumer):
    """Celery's consumer with a look at each message before it does anything with it."""

    strategies: dict[str, Any]
    connection_errors: tuple[type[Exception], ...]

    def create_task_handler(self, *args: Any, **named: Any) -> Callable[[Any], None]:
        """The function that is called with each message."""
        handle = super().create_task_handler(*args, **named)

        def checked(message: Any) -> None:
            why = unfit(message, self.strategies)
            if why is None:
                handle(message)
            else:
                self._refuse(message, why)

        return checked

    def _refuse(self, message: Any, why: str) -> None:
        name = name_of(message) or ""
        if name == PARK:  # what can't be parked would come back for ever
            metrics.REFUSED.labels("dropped").inc()
            _log.error("job.dropped", why=why)
        elif not self._hand_over(message, name, why):
            return  # it stays unacknowledged, and is handed out again
        message.ack_log_error(_log, self.connection_errors)

    def _hand_over(self, message: Any, name: str, why: str) -> bool:
        body = message.body
        raw = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body or b"")
        kept = base64.b64encode(raw[:MAX_KEPT]).decode()
        try:
            self.app.send_task(PARK, args=(name[:200], why, kept), queue=QUEUE_OF[PARK])
        except (KombuError, OperationalError, RedisError, OSError) as error:
            _log.warning("job.not_handed_over", reason=type(error).__name__)
            return False
        metrics.REFUSED.labels("parked").inc()
        _log.error("job.refused", job=name[:200], why=why)
        return True
