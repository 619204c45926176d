"""`python -m workers` on real mongod, Valkey and FCM emulator."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry
from pymongo import MongoClient
from redis import Redis

from adapters import valkey
from adapters.jobs import CeleryJobQueue
from adapters.mongo import open_stores
from adapters.mongo.audit import COLLECTION as AUDIT
from chat.audit import AuditEntry
from tests.contract.working import TASK_SECONDS, Worker, World, wait_for


@pytest.fixture
def own_valkey(valkey_url: str) -> Iterator[str]:
    """A database of the test's own, so that no job of another test is in it."""
    url = valkey_url.rpartition("/")[0] + "/7"
    with Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def worker(
    mongo_url: str,
    mongo_database: str,
    own_valkey: str,
    fcm_emulator: tuple[str, Path],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> Iterator[Worker]:
    url, account = fcm_emulator
    http = f"127.0.0.1:{free_port()}"
    env = {
        "PABAL_MONGO_URL": mongo_url,
        "PABAL_MONGO_DATABASE": mongo_database,
        "PABAL_VALKEY_URL": own_valkey,
        "PABAL_FCM_SERVICE_ACCOUNT_FILE": str(account),
        "PABAL_FCM_ENDPOINT": url,
        "PABAL_WORKER_HTTP": http,
        "PABAL_WORKER_STATE_DIR": str(tmp_path),
        "PABAL_WORKER_TASK_SECONDS": str(TASK_SECONDS),
        "PABAL_WORKER_SWEEP_EVERY": "0.5",
        "PABAL_WORKER_SWEEP_AGE": "1",
        "PABAL_WORKER_ERASE_EVERY": "0.5",
        "PABAL_WORKER_AUDIT_LOG_EVERY": "0.5",
        "PABAL_WORKER_PUSH_REST": "0.2",
    }
    started = Worker(env, http)
    started.start()
    yield started
    if started.process is not None:
        started.stop(signal.SIGKILL)


@pytest.fixture
def emulator(fcm_emulator: tuple[str, Path]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fcm_emulator[0], timeout=10) as client:
        for what in ("rules", "messages"):
            client.delete(f"/control/{what}").raise_for_status()
        yield client
        client.delete("/control/rules").raise_for_status()


@pytest.fixture
async def world(mongo_url: str, mongo_database: str, own_valkey: str, emulator: httpx.Client) -> AsyncIterator[World]:
    stores = await open_stores(mongo_url, mongo_database)
    client = valkey.connect(own_valkey)
    jobs = CeleryJobQueue(own_valkey, registry=CollectorRegistry())
    made = World(stores, client, emulator, jobs)
    await made.fill()
    yield made
    await asyncio.to_thread(jobs.close)
    await client.aclose()
    await stores.close()


async def test_the_member_who_is_away_is_pushed_and_nobody_else(worker: Worker, world: World) -> None:
    message_id = await world.message("안녕하세요")
    await world.cleared(message_id)
    assert world.pushed() == [("token-user3", "안녕하세요")]
    assert worker.metric('pabal_pushes_total{outcome="sent"}') == 1
    assert worker.metric('pabal_push_events_total{ending="done"}') == 1
    assert worker.stop() == 0


async def test_the_sweeper_finds_a_lost_job(worker: Worker, world: World) -> None:
    message_id = await world.message("잃어버린", job=False)
    await world.cleared(message_id)
    assert world.pushed() == [("token-user3", "잃어버린")]
    assert worker.metric("pabal_push_swept_total") == 1


async def test_expired_content_is_erased_and_the_audit_log_verified(
    worker: Worker, world: World, mongo_database: str, mongo_url: str
) -> None:
    await world.stores.audit.record(AuditEntry("user.banned", "gwanri", datetime.now(UTC), target="haneul"))
    kept = await world.message("남는다", job=False)
    gone = await world.message("사라진다", job=False, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    rows = MongoClient[dict[str, Any]](mongo_url)[mongo_database]["messages"]
    async with asyncio.timeout(60):
        while "body" in (rows.find_one({"_id": gone}) or {}):
            await asyncio.sleep(0.05)
    assert [row["seq"] for row in rows.find({"chat_id": "g-1"}).sort("seq")] == [1, 2]
    assert (rows.find_one({"_id": kept}) or {})["body"] == {"text": "남는다"}
    wait_for(lambda: worker.metric("pabal_messages_erased_total") == 1, "the count")
    checks = 'pabal_audit_log_checks_total{{result="{}"}}'.format
    wait_for(lambda: worker.metric(checks("intact")) > 0, "a check of the audit log")
    assert worker.metric(checks("broken")) == 0
    MongoClient[dict[str, Any]](mongo_url)[mongo_database][AUDIT].update_one({"_id": 1}, {"$set": {"by": "아무도"}})
    wait_for(lambda: worker.metric(checks("broken")) > 0, "a check that finds it")
    lines = (await asyncio.to_thread(httpx.get, f"http://{worker.http}/metrics")).text.splitlines()
    assert {'pabal_queue_waiting{queue="push"} 0.0', 'pabal_part_up{part="jobs"} 1.0'} <= set(lines)


async def test_the_provider_is_asked_again_when_it_says_so(worker: Worker, world: World) -> None:
    world.rule(token="token-user3", status=429, headers={"Retry-After": "2"})
    message_id = await world.message("다시")
    await world.cleared(message_id)
    refused, taken = world.emulator.get("/control/messages").json()["messages"]
    assert taken["at"] - refused["at"] >= 2
    assert world.pushed(429) == world.pushed(200) == [("token-user3", "다시")]
    assert worker.metric('pabal_push_events_total{ending="retry"}') == 1


async def test_dead_tokens_are_deleted_and_rejected_pushes_parked(worker: Worker, world: World) -> None:
    world.rule(token="token-user3", status=403)
    message_id = await world.message("하나")
    await world.cleared(message_id)
    (letter,) = await world.stores.dead_letters.page()
    assert letter.reason == "FCM answered 403 SENDER_ID_MISMATCH"
    world.rule(token="token-user3", status=404)
    await world.cleared(await world.message("둘"))
    assert await world.stores.push_tokens.of_users(["user3"]) in ({}, {"user3": []})
    assert world.pushed() == []
    assert worker.healthy()


async def test_kill_9_in_the_middle_of_a_push(worker: Worker, world: World) -> None:
    world.rule(token="token-user3", hang=True)
    message_id = await world.message("중간에")
    wait_for(lambda: world.emulator.get("/").json()["rules"] == 0, "the provider to hang")
    # Started again at once: no pool process of the killed one may sit in its push and keep the port.
    orphans = worker.kill()
    assert world.pushed() == []
    worker.start()
    await world.cleared(message_id)
    assert world.pushed() == [("token-user3", "중간에")]
    _, alive = psutil.wait_procs(orphans, timeout=30)
    assert alive == [], "pool processes outlive the worker"


async def test_an_emptied_valkey_loses_no_push(worker: Worker, world: World, own_valkey: str) -> None:
    first = await world.message("하나")
    await world.cleared(first)
    with Redis.from_url(own_valkey) as client:
        client.flushdb()
    await world.presence.replace("b1", {"user2": 1})
    message_ids = [await world.message("둘", job=False), await world.message("셋")]
    for message_id in message_ids:
        await world.cleared(message_id)
    assert world.pushed()[0] == ("token-user3", "하나")
    assert world.pushed()[-1] == ("token-user3", "셋")
    assert worker.healthy()


FAULTS: dict[int, dict[str, Any]] = {
    1: {"status": 429, "headers": {"Retry-After": "2"}, "times": 2},
    3: {"status": 503, "headers": {"Retry-After": "1"}},
    5: {"status": 400},
    7: {"status": 404},
    8: {"status": 500},
}
"""What the provider answers first for one installation of ten, by the last digit of its number."""


@pytest.mark.parametrize("pushes", [200, pytest.param(4_000, marks=pytest.mark.long)])
async def test_every_push_has_its_end_whatever_dies(worker: Worker, world: World, own_valkey: str, pushes: int) -> None:
    """Killed and emptied in the first half; what a worker heard and could not write down any more would be a refusal in the second."""
    half = pushes // 2
    for number in range(half):
        if number % 10 in (3, 8):
            world.rule(token=f"t-{number:05}", status=500)
    await world.send(await world.pairs(range(half)))
    wait_for(lambda: len(world.pushed()) > 0, "the first pushes")
    assert worker.process is not None
    psutil.Process(worker.process.pid).children()[0].kill()
    with Redis.from_url(own_valkey) as client:
        client.flushdb()
    await world.all_cleared(60 + pushes / 50)
    for number in range(half, pushes):
        if number % 10 in FAULTS:
            world.rule(token=f"t-{number:05}", **FAULTS[number % 10])
    ids = await world.pairs(range(half, pushes))
    await world.send(ids)
    await world.all_cleared(60 + pushes / 50)

    refused = range(half + 5, pushes, 10)
    parked = {letter.id.split(":")[1] for letter in await world.stores.dead_letters.page(limit=pushes)}
    assert parked == {ids[number - half] for number in refused}
    left = await world.stores.push_tokens.of_users([f"p{number:05}" for number in range(pushes)])
    dead = {f"p{number:05}" for number in range(half + 7, pushes, 10)}
    assert set(left) == {f"p{number:05}" for number in range(pushes)} - dead
    sent = {token for token, _ in world.pushed()}
    never = {f"t-{number:05}" for number in (*refused, *range(half + 7, pushes, 10))}
    assert sent == {f"t-{number:05}" for number in range(pushes)} - never
    verdict = world.emulator.get("/control/verdict").json()
    assert [verdict[name] for name in ("early", "again_after_400", "again_after_gone")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PABAL_FCM_SERVICE_ACCOUNT_FILE", "/nowhere/service-account.json"),
        ("PABAL_WORKER_HTTP", "nowhere"),
        ("PABAL_WORKER_CONCURRENCY", "0"),
    ],
)
def test_settings_of_no_use_are_told_at_the_start(tmp_path: Path, name: str, value: str) -> None:
    env = {"PABAL_MONGO_URL": "mongodb://127.0.0.1:1/", "PABAL_WORKER_STATE_DIR": str(tmp_path), name: value}
    ended = subprocess.run(
        [sys.executable, "-m", "workers"], env=os.environ | env, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert value in ended.stderr
