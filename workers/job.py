"""What every job does beside its work: it is tried again with a growing pause, counted, and given up when it is poison (P9).

A job that raises is tried again by itself. One that takes its process along (a crash, the time limit, out of memory) can't say so: Celery
hands it out again, and it would do that for ever. So each beginning is counted in Valkey, and forgotten with the job's end; what has begun
`MAX_STARTS` times without an end becomes a dead letter instead of beginning once more. The count is lost together with the queue or not at all.
"""

from __future__ import annotations

import hashlib
import inspect
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog
from celery import Task
from celery.exceptions import Ignore, Retry

from chat.errors import Unavailable
from chat.jobs import PUSH_EVENT, letter_id
from chat.models import DeadLetter
from workers import metrics
from workers.process import PoolProcess, Services
from workers.push.retry import pause

MAX_STARTS = 5
"""Beginnings without an end. A worker that is killed from outside takes its jobs along too, so one or two say nothing."""

LONG_KEY = 100
"""Characters of arguments; a job may be about 200 messages."""

_log = structlog.get_logger("jobs")


class NothingDone(Exception):
    """A job's way to say that it looked and did nothing: somebody else is at it."""


class Job(Task):  # type: ignore[type-arg]  # generic only in its stubs
    """The base of all jobs; `workers.tasks` fills in the attributes.

    Attributes:
        process: runs coroutines.
        tries: of a job with arguments that raises; then it is a dead letter.
        longest: seconds between two tries.
        regular: the clock sends it again anyway, so it is not tried again by itself; failing as often as `MAX_STARTS` in a row, it is a
            dead letter all the same.
    """

    abstract = True
    process: PoolProcess
    tries: int
    longest: float
    regular = False

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Do it, in a pool process."""
        try:
            inspect.signature(self.run).bind(*args, **named)
        except TypeError:
            self.give_up(args, "its arguments are not this job's", tries=1)
            return
        key = _key(str(self.name), args)
        starts = self._begin(key)
        if starts > MAX_STARTS:
            self.give_up(args, f"it began {MAX_STARTS} times and never ended", tries=MAX_STARTS)
            self._tell(key, "end")
            return
        self._do(key, args, named)

    def _do(self, key: str, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        ending = "done"
        try:
            self.run(*args, **named)
        except (Retry, Ignore):
            ending = "retry"
            raise
        except NothingDone:
            ending = "nothing"
        except Unavailable as error:
            ending = "unavailable"
            _log.warning("job.unavailable", job=self.name, reason=error.reason)
        except Exception as error:  # noqa: BLE001 - P9: whatever it is, it must not come back for ever, nor be forgotten
            ending = "failed"
            _log.error("job.failed", job=self.name, args=args, error=_type(error), where=_where(error))
            self._failed(args, error)
        finally:
            metrics.JOBS.labels(self.name, ending).inc()
            if ending == "nothing":
                self._tell(key, "undo")
            elif not (self.regular and ending == "failed"):
                self._tell(key, "end")

    def _failed(self, args: tuple[Any, ...], error: Exception) -> None:
        number = self.request.retries + 1
        if self.regular:
            return
        if number >= self.tries:
            self.give_up(args, _type(error), tries=number)
            return
        raise self.retry(countdown=pause(number, longest=self.longest), max_retries=None)

    def give_up(self, args: tuple[Any, ...], reason: str, *, tries: int) -> None:
        """Make a dead letter of it; while the database is away that is tried again."""
        letter = letter_of(str(self.name), args, reason, tries=tries)
        try:
            self.process.run(lambda services: park(services, letter))
        except Unavailable as error:
            _log.warning("job.not_parked", id=letter.id, reason=error.reason)
            if self.regular:
                return
            raise self.retry(countdown=pause(self.tries, longest=self.longest), max_retries=None) from None

    def _begin(self, key: str) -> int:
        """How often it has begun; without Valkey nobody can say, and it just begins."""
        try:
            return self.process.run(lambda services: services.starts.begin(key))
        except Unavailable:
            return 1

    def _tell(self, key: str, what: str) -> None:
        with suppress(Unavailable):
            self.process.run(lambda services: getattr(services.starts, what)(key))


def letter_of(job: str, args: tuple[Any, ...], reason: str, *, tries: int) -> DeadLetter:
    """The dead letter of a job of ours."""
    ids = tuple(map(str, args))
    return DeadLetter(
        id=letter_id(job, ids),
        topic="",
        payload=msgspec.json.encode({"job": job, "args": ids}),
        reason=reason,
        tries=tries,
        at=datetime.now(UTC),
        kind="job",
        job=job,
        args=list(ids),
    )


async def park(services: Services, letter: DeadLetter) -> None:
    """Keep a letter; a push that is given up loses its mark, or the sweeper would send it off again.

    Raises:
        Unavailable: the database does not answer; nothing, or the letter alone, is stored.
    """
    await services.letters.add(letter)
    if letter.job == PUSH_EVENT:
        await services.messages.push_done(*letter.args)
    metrics.PARKED.labels(letter.kind).inc()
    _log.error("job.parked", id=letter.id, job=letter.job, reason=letter.reason, tries=letter.tries)


def _key(job: str, args: tuple[Any, ...]) -> str:
    """Under which its beginnings are counted: of many arguments their hash."""
    told = ":".join(map(str, args))
    return f"{job}:{told if len(told) <= LONG_KEY else hashlib.sha256(told.encode()).hexdigest()}"


def _type(error: BaseException) -> str:
    """Its type only: its text may quote a message."""
    return f"{type(error).__module__}.{type(error).__qualname__}"


def _where(error: BaseException) -> str:
    """File and line of what raised it."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return "" if last is None else f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}"
