"""`workers.job`: tries, poison and endings, on a Celery that runs jobs in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Retry

from adapters.memory import memory_stores
from adapters.memory.background import MemoryJobStarts
from adapters.stores import Stores
from chat.envelopes import Body, Event
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.jobs import PUSH_EVENT
from workers.job import MAX_STARTS, Job, NothingDone
from workers.push.retry import pause
from workers.tasks import schedule


class Process:
    """As `workers.process.PoolProcess`, on memory."""

    def __init__(self) -> None:
        self.stores: Stores = memory_stores()
        self.starts = MemoryJobStarts()
        self.services = SimpleNamespace(
            starts=self.starts, letters=self.stores.dead_letters, messages=self.stores.messages
        )

    def run(self, job: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(_awaited(job(self.services)))

    def letters(self) -> list[Any]:
        return asyncio.run(self.stores.dead_letters.page())


async def _awaited(something: Any) -> Any:
    return await something


Making = Callable[..., tuple[Job, Process]]


@pytest.fixture
def making() -> Making:
    def make(name: str, work: Callable[..., None], *, regular: bool = False, tries: int = 3) -> tuple[Job, Process]:
        app, process = Celery("test", set_as_current=False), Process()

        class Ours(Job):
            abstract = True

        Ours.process, Ours.tries, Ours.longest, Ours.regular = process, tries, 10.0, regular  # type: ignore[assignment]
        return app.task(shared=False, name=name, base=Ours)(work), process

    return make


def attempt(job: Job, *args: Any, retries: int = 0) -> float | None:
    """Do it as Celery does; the pause after which it comes back, if it does."""
    job.push_request(retries=retries, called_directly=False, is_eager=True, id="x", args=args, kwargs={})
    try:
        job(*args)
    except Retry as retry:
        return float(retry.when or 0)
    finally:
        job.pop_request()
    return None


def test_a_job_that_raises_is_tried_with_growing_pauses_and_parked(
    making: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(message_id: str) -> None:
        raise ValueError(f"비밀 {message_id}")

    job, process = making("pabal.test", fail)
    retried: list[float] = []

    def retry(**named: Any) -> Retry:
        retried.append(named["countdown"])
        return Retry(when=named["countdown"])

    monkeypatch.setattr(job, "retry", retry)
    assert attempt(job, "m1") is not None
    assert attempt(job, "m1", retries=1) is not None
    assert process.letters() == []
    assert attempt(job, "m1", retries=2) is None
    assert 1.0 <= retried[0] <= 2.0 <= retried[1] <= 4.0
    (letter,) = process.letters()
    assert (letter.id, letter.kind, letter.job, letter.args) == ("job:pabal.test:m1", "job", "pabal.test", ["m1"])
    assert (letter.reason, letter.tries) == ("builtins.ValueError", 3)
    assert "비밀".encode() not in letter.payload


def test_pauses_have_jitter() -> None:
    assert len({pause(3, longest=100) for _ in range(20)}) > 10


def test_a_job_that_takes_its_process_along_is_parked_instead_of_begun_again(making: Making) -> None:
    done: list[str] = []

    def work(message_id: str) -> None:
        done.append(message_id)

    job, process = making(PUSH_EVENT, work)
    message = new_message_id()
    event = Event(
        type="message", id=message, chat="g", seq=1, n=1, sender="a", at=datetime.now(UTC), body=Body(text="x")
    )
    asyncio.run(process.stores.messages.insert([event], push=frozenset({message})))
    for _ in range(MAX_STARTS):  # that is all that is left of a process that was killed
        asyncio.run(process.starts.begin(f"{PUSH_EVENT}:{message}"))
    attempt(job, message)
    assert done == []
    (letter,) = process.letters()
    assert letter.reason == f"it began {MAX_STARTS} times and never ended"
    assert asyncio.run(process.stores.messages.push_claim(message)) is None, "the sweeper would send it off again"
    attempt(job, message)
    assert done == [message], "once it was replayed, it counts anew"


@pytest.mark.parametrize("ending", [None, NothingDone(), Unavailable("away")])
def test_who_ends_never_counts_as_poison(making: Making, ending: Exception | None) -> None:
    done: list[int] = []

    def work(_message_id: str) -> None:
        done.append(1)
        if ending is not None:
            raise ending

    job, process = making("pabal.test", work)
    for _ in range(3 * MAX_STARTS):
        attempt(job, "m1")
    assert len(done) == 3 * MAX_STARTS
    assert process.letters() == []


def test_looking_and_doing_nothing_does_not_hide_a_poison_job(making: Making) -> None:
    """The copy of a push that was killed finds its lease, which its killed process has left; that is no success."""

    def busy(_message_id: str) -> None:
        raise NothingDone

    job, process = making("pabal.test", busy)
    for _ in range(MAX_STARTS):
        asyncio.run(process.starts.begin("pabal.test:m1"))
        if process.letters():
            break
        attempt(job, "m1")
    assert [letter.id for letter in process.letters()] == ["job:pabal.test:m1"]


def test_a_regular_job_is_parked_when_it_fails_again_and_again(making: Making) -> None:
    failing = True

    def work() -> None:
        if failing:
            raise RuntimeError

    job, process = making("pabal.test", work, regular=True)
    for _ in range(MAX_STARTS):
        assert attempt(job) is None
    assert process.letters() == []
    attempt(job)
    (letter,) = process.letters()
    assert (letter.id, letter.args) == ("job:pabal.test", [])


def test_arguments_that_are_not_the_jobs_are_parked_at_once(making: Making) -> None:
    def work(_message_id: str) -> None:
        raise AssertionError

    job, process = making("pabal.test", work)
    attempt(job)
    attempt(job, "m1", "m2")
    assert [(letter.id, letter.tries) for letter in process.letters()] == [
        ("job:pabal.test", 1),
        ("job:pabal.test:m1:m2", 1),
    ]


def test_without_a_database_nothing_is_given_up(making: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_message_id: str) -> None:
        raise ValueError

    job, process = making("pabal.test", fail, tries=1)

    async def away(_letter: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(process.stores.dead_letters, "add", away)
    monkeypatch.setattr(job, "retry", lambda **named: Retry(when=named["countdown"]))
    assert attempt(job, "m1") is not None


def test_each_regular_job_goes_to_the_queue_of_its_kind_and_is_forgotten_when_the_next_is_due() -> None:
    (entry,) = schedule({"pabal.statistics.roll": 300.0}).values()
    assert entry == {
        "task": "pabal.statistics.roll",
        "schedule": 300.0,
        "options": {"queue": "statistics", "expires": 300.0},
    }
