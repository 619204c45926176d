"""chat.ports.JobQueue on Celery: the job arrives, and a dead Valkey holds nobody up."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis import Redis

from adapters.jobs import CeleryJobQueue
from adapters.memory.jobs import Job, MemoryJobQueue
from chat.jobs import PUSH_EVENT, PUSH_QUEUE
from chat.tracing import TraceContext
from stack import servers
from stack.ports import Address

MESSAGE = "01890a5d-ac96-774b-bcce-b302099a8057"


def outcomes(registry: CollectorRegistry) -> dict[str, float]:
    names = ("sent", "failed", "dropped")
    return {name: registry.get_sample_value("pabal_jobs_total", {"outcome": name}) or 0.0 for name in names}


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def queue(valkey_url: str) -> Iterator[tuple[CeleryJobQueue, CollectorRegistry, Redis]]:
    registry = CollectorRegistry()
    client: Redis = Redis.from_url(valkey_url)
    client.flushdb()
    jobs = CeleryJobQueue(valkey_url, registry=registry)
    yield jobs, registry, client
    jobs.close()
    client.flushdb()
    client.close()


def read(raw: bytes) -> tuple[str, list[Any]]:
    message = json.loads(raw)
    args, _kwargs, _embedded = json.loads(base64.b64decode(message["body"]))
    return message["headers"]["task"], args


async def test_jobs_arrive_in_order_with_ids_only(queue: tuple[CeleryJobQueue, CollectorRegistry, Redis]) -> None:
    jobs, registry, client = queue
    for number in range(3):
        await jobs.enqueue(PUSH_EVENT, f"{MESSAGE}-{number}", queue=PUSH_QUEUE)
    await asyncio.to_thread(wait_for, lambda: outcomes(registry)["sent"] == 3)
    # Celery takes from the right.
    stored = [read(raw) for raw in reversed(client.lrange(f"jobs:{PUSH_QUEUE}", 0, -1))]
    assert stored == [(PUSH_EVENT, [f"{MESSAGE}-{number}"]) for number in range(3)]


async def test_a_job_says_which_span_it_belongs_to(queue: tuple[CeleryJobQueue, CollectorRegistry, Redis]) -> None:
    jobs, registry, client = queue
    span = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True, state="a=1")
    await jobs.enqueue(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE, trace=span)
    await jobs.enqueue(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE)
    await asyncio.to_thread(wait_for, lambda: outcomes(registry)["sent"] == 2)
    first, second = (json.loads(raw)["headers"] for raw in reversed(client.lrange(f"jobs:{PUSH_QUEUE}", 0, -1)))
    assert (first["traceparent"], first["tracestate"]) == (span.traceparent, "a=1")
    assert set(first) - set(second) == {"traceparent", "tracestate"}


async def test_close_sends_what_is_in_line(queue: tuple[CeleryJobQueue, CollectorRegistry, Redis]) -> None:
    jobs, _, client = queue
    for _ in range(20):
        await jobs.enqueue(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE)
    await asyncio.to_thread(jobs.close)
    assert client.llen(f"jobs:{PUSH_QUEUE}") == 20


async def test_a_dead_valkey_holds_nobody_up(free_port: Callable[[], int]) -> None:
    # A listener that never answers is worse than one that is not there: each attempt runs into its timeout.
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    port = free_port()
    server = await asyncio.start_server(silent, "127.0.0.1", port)
    registry = CollectorRegistry()
    jobs = CeleryJobQueue(f"redis://127.0.0.1:{port}/0", registry=registry, max_waiting=10)
    async with asyncio.timeout(2):
        for _ in range(1_000):
            await jobs.enqueue(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE)
    assert outcomes(registry)["dropped"] >= 980
    server.close()
    await asyncio.to_thread(jobs.close)


def test_it_goes_on_after_valkey_comes_back(free_port: Callable[[], int], tmp_path: Path) -> None:
    address = Address("127.0.0.1", free_port())
    url = servers.valkey_url(address)

    def start() -> subprocess.Popen[bytes]:
        with tempfile.TemporaryFile() as log:
            argv = servers.valkey_command(servers.find_valkey(), tmp_path, address)
            process = subprocess.Popen(servers.launched(argv), stdout=log, stderr=log)
        wait_for(lambda: servers.valkey_problem(url) is None)
        return process

    registry = CollectorRegistry()
    jobs = CeleryJobQueue(url, registry=registry)
    process = start()
    try:
        assert jobs.put(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE)
        wait_for(lambda: outcomes(registry)["sent"] == 1)
        process.kill()
        process.wait()
        assert jobs.put(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE)
        wait_for(lambda: outcomes(registry)["failed"] == 1)
        process = start()
        assert jobs.put(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE)
        wait_for(lambda: outcomes(registry)["sent"] == 2)
        client: Redis = Redis.from_url(url)
        assert client.llen(f"jobs:{PUSH_QUEUE}") == 1
        # An emptied Valkey knows no queue any more; the next job makes it anew.
        client.flushall()
        assert jobs.put(PUSH_EVENT, MESSAGE, queue=PUSH_QUEUE)
        wait_for(lambda: outcomes(registry)["sent"] == 3)
        assert client.llen(f"jobs:{PUSH_QUEUE}") == 1
        client.close()
    finally:
        jobs.close()
        process.kill()
        process.wait()


async def test_the_twin_remembers_the_newest() -> None:
    jobs = MemoryJobQueue(max_jobs=2)
    for number in "123":
        await jobs.enqueue(PUSH_EVENT, number, queue=PUSH_QUEUE)
    assert list(jobs.jobs) == [Job(PUSH_EVENT, ("2",), PUSH_QUEUE), Job(PUSH_EVENT, ("3",), PUSH_QUEUE)]
