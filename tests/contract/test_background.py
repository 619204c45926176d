"""What background jobs remember: `chat.background`, in memory, on Valkey and on MongoDB."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from adapters import valkey
from adapters.jobs import CeleryJobQueue
from adapters.memory.background import MemoryJobStarts, MemoryLease
from adapters.stores import Stores
from adapters.valkey.queues import QueueState, look
from chat.background import JobRun, JobStarts, Lease
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.jobs import PUSH_EVENT

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "valkey"])
async def starts(request: pytest.FixtureRequest) -> AsyncIterator[JobStarts]:
    if request.param == "memory":
        yield MemoryJobStarts()
        return
    client = valkey.connect(request.getfixturevalue("valkey_url"))
    yield valkey.ValkeyJobStarts(client)
    await client.aclose()


@pytest.fixture(params=["memory", "valkey"])
def lease(request: pytest.FixtureRequest) -> Iterator[Lease]:
    if request.param == "memory":
        yield MemoryLease()
        return
    found = valkey.ValkeyLease(request.getfixturevalue("valkey_url"), new_message_id())
    yield found
    found.close()


async def test_beginnings_without_an_end_are_counted(starts: JobStarts) -> None:
    job = f"pabal.push.event:{new_message_id()}"
    assert [await starts.begin(job), await starts.begin(job)] == [1, 2]
    assert await starts.begin(f"{job}:other") == 1
    await starts.undo(job)
    assert await starts.begin(job) == 2
    await starts.end(job)
    await starts.undo(job)  # of one that began before another ended: no less than nothing
    assert await starts.begin(job) == 1


def test_one_at_a_time_has_a_lease(lease: Lease) -> None:
    assert lease.take("w1", seconds=60)
    assert not lease.take("w2", seconds=60)
    assert lease.take("w1", seconds=60), "who has it has it for longer"
    lease.give_back("w2")
    assert not lease.take("w2", seconds=60), "nobody gives back what another has"
    lease.give_back("w1")
    assert lease.take("w2", seconds=0.05)
    time.sleep(0.2)
    assert lease.take("w1", seconds=60), "it runs out"


def test_without_valkey_nobody_has_the_lease(free_port: Callable[[], int]) -> None:
    with pytest.raises(Unavailable):
        valkey.ValkeyLease(f"redis://127.0.0.1:{free_port()}/0", "beat").take("w1", seconds=1)


async def test_runs_are_noted_and_the_newest_counts(stores: Stores) -> None:
    runs = stores.job_runs
    assert await runs.get("b") == JobRun("b")
    await runs.move("b", "c1")
    assert await runs.get("b") == JobRun("b", position="c1")
    await runs.ran("b", at=AT, rows=3, seconds=0.5)
    await runs.ran("b", at=AT - timedelta(seconds=1), rows=9, seconds=9.0)
    await runs.ran("a", at=AT, rows=0, seconds=0.25)
    assert await runs.all() == [JobRun("a", AT, 0, 0.25), JobRun("b", AT, 3, 0.5, "c1")]


async def test_a_look_at_the_queues(valkey_url: str) -> None:
    url = valkey_url.rpartition("/")[0] + "/5"
    client = valkey.connect(url)
    jobs = CeleryJobQueue(url, registry=CollectorRegistry())
    try:
        await client.flushdb()
        assert await look(client, ["push", "statistics"]) == (
            {"push": QueueState(0, None), "statistics": QueueState(0, None)},
            0,
        )
        before = time.time()
        for _ in range(3):
            await jobs.submit(PUSH_EVENT, new_message_id(), queue="push")
            await asyncio.sleep(0.02)
        await client.lpush("jobs:statistics", "no job", json.dumps({"headers": {}}))
        found, taken = await look(client, ["push", "statistics"])
        assert taken == 0
        assert found["statistics"] == QueueState(2, None)
        assert found["push"].waiting == 3
        oldest = found["push"].oldest_at
        assert oldest is not None
        assert before <= oldest
        assert (await look(client, ["push"]))[0]["push"].oldest_at == oldest
        await client.rpop("jobs:push")
        second = (await look(client, ["push"]))[0]["push"].oldest_at
        assert second is not None
        assert second > oldest
    finally:
        await client.flushdb()
        await client.aclose()
        await asyncio.to_thread(jobs.close)


async def test_who_waits_for_a_job_to_be_queued_is_told_when_it_is_not(free_port: Callable[[], int]) -> None:
    jobs = CeleryJobQueue(f"redis://127.0.0.1:{free_port()}/0", registry=CollectorRegistry())
    with pytest.raises(Unavailable):
        await jobs.submit(PUSH_EVENT, "m1", queue="push")
    await asyncio.to_thread(jobs.close)
