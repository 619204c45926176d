"""What stands round pushes when they are tried hard: a worker, Valkey and an FCM emulator of the run's own, to kill; MongoDB is shared.

Messages are stored with their mark as the bridge stores them, each in a chat of its own, for one member who is away and has one token.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client import CollectorRegistry
from pymongo import MongoClient
from pymongo.collection import Collection
from redis import Redis
from redis.exceptions import RedisError

from adapters.jobs import CeleryJobQueue
from adapters.mongo import open_stores
from adapters.stores import Stores
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.jobs import PUSH_EVENT, PUSH_QUEUE
from chat.models import Chat, ChatKind, Member, PushToken, Role, User
from stack import ports, servers
from tests.faults.push_checker import Asked, Attempt, Fate, PushRun

SENDER = "haneul"
LOST = 0.05
"""Of the jobs nobody sends so many: the sweeper has to find them."""

SETTINGS = {
    "PABAL_WORKER_TASK_SECONDS": "15",
    "PABAL_WORKER_LONGEST_WAIT": "5",
    "PABAL_WORKER_VISIBILITY": "36",
    "PABAL_WORKER_SWEEP_EVERY": "1",
    "PABAL_WORKER_SWEEP_AGE": "3",
    "PABAL_WORKER_PUSH_TRIES": "30",
    "PABAL_LOG_LEVEL": "error",
}


class Fallible:
    """A process that is started again when it was killed."""

    def __init__(self, argv: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self._argv = servers.launched(argv)
        self._env = os.environ | (env or {})
        self._log = log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL, and another one at once."""
        self.process.kill()
        self.process.wait()
        self.process = self._start()

    def end(self) -> None:
        """For good."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class PushWorld:
    """A run."""

    def __init__(
        self,
        stores: Stores,
        rows: Collection[dict[str, Any]],
        valkey_url: str,
        emulator: httpx.Client,
        parts: dict[str, Fallible],
    ) -> None:
        self.run = PushRun()
        self.stores = stores
        self._rows = rows
        self._valkey_url = valkey_url
        self._emulator = emulator
        self._parts = parts
        self._jobs = CeleryJobQueue(valkey_url, registry=CollectorRegistry())

    # -- faults ------------------------------------------------------------------------------------------------------

    def strike(self, fault: str, chance: random.Random) -> None:
        """One fault, by name."""
        self.run.kills.append(time.time())
        FAULTS[fault](self, chance)
        self.run.kills.append(time.time())

    def worker_killed(self, _chance: random.Random) -> None:
        """The main process; its pool notices."""
        self._parts["worker"].kill()

    def pool_killed(self, chance: random.Random) -> None:
        """One pool process; the main one replaces it."""
        try:
            children = psutil.Process(self._parts["worker"].process.pid).children(recursive=True)
            chance.choice(children).kill()
        except (psutil.Error, IndexError):
            return  # it was killed a moment ago, and has none yet

    def valkey_killed(self, _chance: random.Random) -> None:
        """It comes back empty."""
        self._parts["valkey"].kill()

    def valkey_flushed(self, _chance: random.Random) -> None:
        """Everything in it is gone, and nobody is told."""
        # One that was killed a moment ago does not answer yet, and is empty.
        with contextlib.suppress(RedisError), Redis.from_url(self._valkey_url) as client:
            client.flushall()

    # -- work --------------------------------------------------------------------------------------------------------

    async def prepare(self, fates: Sequence[tuple[Fate, float]]) -> list[Asked]:
        """A chat, a member and a token for each, and what the provider will answer."""
        asked = [Asked(new_message_id(), f"token-{new_message_id()}", fate, after) for fate, after in fates]
        for start in range(0, len(asked), 50):
            await asyncio.gather(*map(self._prepare, asked[start : start + 50]))
        self.run.asked += asked
        return asked

    async def _prepare(self, one: Asked) -> None:
        now, user = datetime.now(UTC), f"u-{one.message}"
        members = [Member(f"g-{one.message}", name, Role.MEMBER, now) for name in (SENDER, user)]
        await self.stores.chats.create(Chat(f"g-{one.message}", ChatKind.GROUP, now, SENDER, title="가족"), members)
        await self.stores.users.add(User(user, user, "", now))
        await self.stores.push_tokens.put(PushToken(one.token, user, "android", now))
        if one.fate is Fate.TAKEN:
            return
        rule: dict[str, Any] = {"token": one.token}
        rule |= {"hang": True} if one.fate is Fate.HANGS else {"status": int(one.fate.value)}
        if one.retry_after:
            rule["headers"] = {"Retry-After": f"{one.retry_after:g}"}
        (await asyncio.to_thread(self._emulator.post, "/control/rules", json=rule)).raise_for_status()

    async def send(self, asked: Sequence[Asked], chance: random.Random) -> None:
        """Store the messages with their marks, and send most of the jobs."""
        now = datetime.now(UTC)
        events = [
            Event("message", one.message, f"g-{one.message}", 1, 1, SENDER, now, body=Body(text="안녕하세요"))
            for one in asked
        ]
        await self.stores.messages.insert(events, push=frozenset(event.id for event in events))
        for event in events:
            if chance.random() >= LOST:
                await self._jobs.enqueue(PUSH_EVENT, event.id, queue=PUSH_QUEUE)

    async def settled(self, asked: Sequence[Asked], *, patience: float) -> None:
        """Until no mark is left, or patience ends; then writes down what is known."""
        deadline = time.monotonic() + patience
        while (left := await self._marked(asked)) and time.monotonic() < deadline:
            await asyncio.sleep(0.3)
        self.run.marked |= left
        letters = await self._letters()
        self.run.parked |= {one.message for one in asked} & letters
        users = [f"u-{one.message}" for one in asked]
        self.run.tokens |= {
            token.token for found in (await self.stores.push_tokens.of_users(users)).values() for token in found
        }
        answer = await asyncio.to_thread(self._emulator.get, "/control/messages")
        self.run.attempts += [Attempt(got["token"], got["status"], got["at"]) for got in answer.json()["messages"]]
        (await asyncio.to_thread(self._emulator.delete, "/control/messages")).raise_for_status()

    async def _marked(self, asked: Sequence[Asked]) -> set[str]:
        found = await asyncio.to_thread(self._rows.distinct, "_id", {"push": {"$exists": True}})
        return {one.message for one in asked}.intersection(found)

    async def _letters(self) -> set[str]:
        found, after = set(), ""
        while page := await self.stores.dead_letters.page(after=after, limit=1_000):
            found |= {letter.args[0] for letter in page if letter.args}
            after = page[-1].id
        return found

    async def close(self) -> None:
        """End what was started here."""
        await asyncio.to_thread(self._jobs.close)


FAULTS: dict[str, Callable[[PushWorld, random.Random], None]] = {
    fault.__name__: fault
    for fault in (PushWorld.worker_killed, PushWorld.pool_killed, PushWorld.valkey_killed, PushWorld.valkey_flushed)
}


@asynccontextmanager
async def push_world(mongo_url: str, database: str, directory: Path) -> AsyncIterator[PushWorld]:
    """A running one; everything ends with the block."""
    addresses = {name: ports.Address("127.0.0.1", ports.free_port()) for name in ("valkey", "fcm", "worker")}
    url, fcm = servers.valkey_url(addresses["valkey"]), f"http://{addresses['fcm']}"
    state = directory / "fcm"
    emulating = [sys.executable, "-m", "stack.fcm_emulator", "--bind", str(addresses["fcm"]), "--state", str(state)]
    (directory / "valkey").mkdir()
    storing = servers.valkey_command(servers.find_valkey(), directory / "valkey", addresses["valkey"])
    parts = {
        "valkey": Fallible(storing, directory / "valkey.log"),
        "fcm": Fallible(emulating, directory / "fcm.log"),
    }
    env = SETTINGS | {
        "PABAL_MONGO_URL": mongo_url,
        "PABAL_MONGO_DATABASE": database,
        "PABAL_VALKEY_URL": url,
        "PABAL_FCM_SERVICE_ACCOUNT_FILE": str(state / "service-account.json"),
        "PABAL_FCM_ENDPOINT": fcm,
        "PABAL_WORKER_HTTP": str(addresses["worker"]),
        "PABAL_WORKER_STATE_DIR": str(directory / "worker"),
    }
    stores = await open_stores(mongo_url, database)
    try:
        with (
            httpx.Client(base_url=fcm, timeout=60, trust_env=False) as client,
            MongoClient[dict[str, Any]](mongo_url) as mongo,
        ):
            await _answers(f"{fcm}/healthz")
            parts["worker"] = Fallible([sys.executable, "-m", "workers"], directory / "worker.log", env)
            await _answers(f"http://{addresses['worker']}/healthz")
            world = PushWorld(stores, mongo[database]["messages"], url, client, parts)
            await stores.users.add(User(SENDER, "하늘", "", datetime.now(UTC)))
            yield world
            await world.close()
    finally:
        for name in ("worker", "fcm", "valkey"):
            if name in parts:
                await asyncio.to_thread(parts[name].end)
        await stores.close()


async def _answers(url: str, *, patience: float = 90.0) -> None:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(patience):
        while True:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)
