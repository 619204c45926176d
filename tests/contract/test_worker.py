"""`python -m workers` on real mongod, Valkey and FCM emulator."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry
from pymongo import MongoClient
from pymongo.collection import Collection
from redis import Redis

from adapters import valkey
from adapters.jobs import CeleryJobQueue
from adapters.mongo import open_stores
from adapters.stores import Stores
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.jobs import PUSH_EVENT, PUSH_QUEUE
from chat.models import Chat, ChatKind, Member, PushToken, Role, User
from stack import servers

NOBODY_LISTENS = httpx.TransportError
TASK_SECONDS = 4


class Worker:
    """The worker process, and what it was told."""

    def __init__(self, env: dict[str, str], http: str) -> None:
        self.env = env
        self.http = http
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = servers.launched([sys.executable, "-m", "workers"])
        self.process = subprocess.Popen(argv, env=os.environ | self.env)
        wait_for(self.healthy, "a healthy worker")

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "the worker ended"
        try:
            return httpx.get(f"http://{self.http}/healthz").status_code == 200
        except NOBODY_LISTENS:
            return False

    def metric(self, line: str) -> float:
        for found in httpx.get(f"http://{self.http}/metrics").text.splitlines():
            if found.startswith(line + " "):
                return float(found.rpartition(" ")[2])
        return 0.0

    def kill(self) -> list[psutil.Process]:
        """End the main process only; the pool processes that it left."""
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait()
        return family

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """End the main process; its children must follow."""
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signum)
        code = self.process.wait(30)
        _, alive = psutil.wait_procs(family, timeout=20)
        assert alive == [], "pool processes outlive the worker"
        self.process = None
        return code


class World:
    """What stands round the worker."""

    def __init__(
        self,
        stores: Stores,
        rows: Collection[dict[str, Any]],
        client: valkey.Valkey,
        emulator: httpx.Client,
        jobs: CeleryJobQueue,
    ) -> None:
        self.stores = stores
        self.rows = rows
        self.presence = valkey.ValkeyPresence(client)
        self.emulator = emulator
        self.jobs = jobs

    async def fill(self) -> None:
        """user1 writes, user2 is online, user3 is away."""
        now = datetime.now(UTC)
        names = ("user1", "user2", "user3")
        chat = Chat(id="g-1", kind=ChatKind.GROUP, created_at=now, created_by="user1", title="가족")
        members = [
            # user2 is online, and has everything that is sent
            Member(chat="g-1", user=name, role=Role.MEMBER, joined_at=now, delivered_seq=1000 if name == "user2" else 0)
            for name in names
        ]
        await self.stores.chats.create(chat, members)
        for name in names:
            await self.stores.users.add(User(id=name, display_name=name, password_hash="", created_at=now))
            token = PushToken(token=f"token-{name}", user=name, platform="android", updated_at=now)
            await self.stores.push_tokens.put(token)
        await self.presence.replace("b1", {"user2": 1})

    async def message(self, text: str, *, job: bool = True, expires_at: datetime | None = None) -> str:
        """Store a message with a push mark as the bridge does, and send its job (or lose it)."""
        head = await self.stores.messages.head("g-1")
        message_id = new_message_id()
        event = Event(
            type="message",
            id=message_id,
            chat="g-1",
            seq=head.seq + 1,
            n=head.n + 1,
            sender="user1",
            at=datetime.now(UTC),
            body=Body(text=text),
            expires_at=expires_at,
        )
        await self.stores.messages.insert([event], push=frozenset({message_id}))
        if job:
            await self.jobs.enqueue(PUSH_EVENT, message_id, queue=PUSH_QUEUE)
        return message_id

    async def cleared(self, message_id: str) -> None:
        async with asyncio.timeout(60):
            while await asyncio.to_thread(self.marked, message_id):
                await asyncio.sleep(0.05)

    def marked(self, message_id: str) -> bool:
        """Whether its push mark is there, be it held or not."""
        return self.rows.find_one({"_id": message_id, "push": {"$exists": True}}) is not None

    def rule(self, **rule: Any) -> None:
        self.emulator.post("/control/rules", json=rule).raise_for_status()

    def pushed(self, status: int = 200) -> list[tuple[str, str]]:
        """(token, text) of what the provider answered with `status`."""
        messages = self.emulator.get("/control/messages").raise_for_status().json()["messages"]
        return [
            (got["token"], got["message"]["notification"].get("body")) for got in messages if got["status"] == status
        ]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


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
    with MongoClient[dict[str, Any]](mongo_url) as mongo:
        made = World(stores, mongo[mongo_database]["messages"], client, emulator, jobs)
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


async def test_expired_content_is_erased_and_its_slot_stays(
    worker: Worker, world: World, mongo_database: str, mongo_url: str
) -> None:
    kept = await world.message("남는다", job=False)
    gone = await world.message("사라진다", job=False, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    rows = MongoClient[dict[str, Any]](mongo_url)[mongo_database]["messages"]
    async with asyncio.timeout(60):
        while "body" in (rows.find_one({"_id": gone}) or {}):
            await asyncio.sleep(0.05)
    assert [row["seq"] for row in rows.find({"chat_id": "g-1"}).sort("seq")] == [1, 2]
    assert (rows.find_one({"_id": kept}) or {})["body"] == {"text": "남는다"}
    wait_for(lambda: worker.metric("pabal_messages_erased_total") == 1, "the count")


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
    assert sorted(world.pushed()) == [("token-user3", "둘"), ("token-user3", "셋"), ("token-user3", "하나")]
    assert worker.healthy()


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
