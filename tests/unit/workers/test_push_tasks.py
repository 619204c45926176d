"""`workers.push_tasks`: of a job of many messages that can't be done, only the poison is given up; who comes back keeps the trace."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from adapters.memory import memory_stores
from adapters.memory.background import MemoryJobStarts
from chat.errors import Unavailable
from chat.jobs import PUSH_EVENT, PUSH_QUEUE
from workers import push_tasks
from workers.job import MAX_STARTS, Job
from workers.push.work import Comeback, Ending, Outcome

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Delivery:
    """Answers as it is told, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.answer: Callable[[tuple[str, ...]], Outcome] = lambda _: Outcome()

    async def push(self, message_ids: tuple[str, ...], *, tries: int) -> Outcome:
        del tries
        self.asked.append(message_ids)
        return self.answer(message_ids)


class Process:
    """As `workers.process.PoolProcess`, on memory."""

    def __init__(self) -> None:
        self.stores, self.starts, self.delivery = memory_stores(), MemoryJobStarts(), Delivery()
        self.services = SimpleNamespace(
            starts=self.starts,
            letters=self.stores.dead_letters,
            messages=self.stores.messages,
            delivery=self.delivery,
        )

    def run(self, job: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        async def awaited() -> Any:
            return await job(self.services)

        return asyncio.run(awaited())

    def letters(self) -> list[str]:
        return [letter.id for letter in asyncio.run(self.stores.dead_letters.page())]


@pytest.fixture
def made() -> Iterator[tuple[Job, Process, Celery]]:
    app, process = Celery("test", broker="memory://", set_as_current=False), Process()

    class Ours(Job):
        abstract = True

    Ours.process, Ours.tries, Ours.longest = process, 3, 10.0  # type: ignore[assignment]
    push_tasks.register(app, Ours)
    job = app.tasks[PUSH_EVENT]
    headers = {"traceparent": TRACEPARENT}
    job.push_request(retries=0, called_directly=False, is_eager=False, id="x", headers=headers)
    yield job, process, app
    job.pop_request()


def waiting(app: Celery) -> list[tuple[list[str], str | None]]:
    """Arguments and trace of the jobs in the queue."""
    found = []
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(PUSH_QUEUE)
        while queue.qsize():
            message = queue.get(timeout=1)
            found.append((json.loads(message.body)[0], message.headers.get("traceparent")))
            message.ack()
        queue.close()
    return found


def test_a_job_of_many_that_never_ends_is_parted_and_only_the_poison_is_parked(
    made: tuple[Job, Process, Celery],
) -> None:
    job, process, app = made
    ids = ("m1", "m2", "m3")
    for _ in range(MAX_STARTS):
        process.run(lambda services: services.starts.begin(f"{PUSH_EVENT}:m1:m2:m3"))
    job(*ids)
    assert process.delivery.asked == []
    assert process.letters() == []
    assert waiting(app) == [([message_id], TRACEPARENT) for message_id in ids]
    for _ in range(MAX_STARTS):
        process.run(lambda services: services.starts.begin(f"{PUSH_EVENT}:m2"))
    for message_id in ids:
        job(message_id)
    assert process.delivery.asked == [("m1",), ("m3",)]
    assert process.letters() == [f"job:{PUSH_EVENT}:m2"]


def test_what_comes_back_keeps_its_trace_and_what_waits_too_long_is_left_to_the_sweeper(
    made: tuple[Job, Process, Celery],
) -> None:
    job, process, app = made
    process.delivery.answer = lambda _: Outcome(comebacks=[Comeback(("m1",), 0.0), Comeback(("m2",), 60.0)])
    job("m1", "m2")
    assert waiting(app) == [(["m1"], TRACEPARENT)]


def test_a_job_that_finds_others_at_it_has_not_begun(made: tuple[Job, Process, Celery]) -> None:
    job, process, _ = made
    process.delivery.answer = lambda ids: Outcome(endings=Counter({Ending.GONE: 0, Ending.BUSY: len(ids)}))
    for _ in range(MAX_STARTS + 1):
        job("m1", "m2")
    assert len(process.delivery.asked) == MAX_STARTS + 1
    assert process.letters() == []


def test_an_outage_is_tried_again_and_then_left_to_the_sweeper(made: tuple[Job, Process, Celery]) -> None:
    job, process, _ = made

    def away(_: tuple[str, ...]) -> Outcome:
        raise Unavailable("away")

    process.delivery.answer = away
    job.request.retries = 2
    job("m1")
    assert process.letters() == []
