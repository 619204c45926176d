"""A worker process on real servers, and what stands round it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil

from adapters import valkey
from adapters.jobs import CeleryJobQueue
from adapters.stores import Stores
from chat.envelopes import Body, Event
from chat.ids import direct_chat_id, new_message_id
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

    def __init__(self, stores: Stores, client: valkey.Valkey, emulator: httpx.Client, jobs: CeleryJobQueue) -> None:
        self.stores = stores
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

    async def send(self, ids: list[str]) -> None:
        for start in range(0, len(ids), 50):
            await self.jobs.enqueue(PUSH_EVENT, *ids[start : start + 50], queue=PUSH_QUEUE)

    async def all_cleared(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while await self.stores.messages.push_pending(older_than=datetime.now(UTC), limit=1):
                await asyncio.sleep(0.2)

    async def pairs(self, numbers: range) -> list[str]:
        """Chats of user1 with these others, of whom each has one installation, and a message of user1 in each."""
        now, ids = datetime.now(UTC), {number: new_message_id() for number in numbers}
        for start in numbers[::100]:
            some = range(start, min(start + 100, numbers.stop))
            chats = {number: direct_chat_id("user1", f"p{number:05}") for number in some}
            await asyncio.gather(
                *(
                    self.stores.chats.create(
                        Chat(chat, ChatKind.DIRECT, now, "user1"),
                        [Member(chat, user, Role.OWNER, now) for user in ("user1", f"p{number:05}")],
                    )
                    for number, chat in chats.items()
                ),
                *(
                    self.stores.push_tokens.put(PushToken(f"t-{number:05}", f"p{number:05}", "android", now))
                    for number in some
                ),
            )
            events = [
                Event("message", ids[n], chat, 1, 1, "user1", datetime.now(UTC), body=Body(text=str(n)))
                for n, chat in chats.items()
            ]
            await self.stores.messages.insert(events, push=frozenset(event.id for event in events))
        return list(ids.values())

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

    async def marked(self, message_id: str) -> bool:
        """Whether its push has not ended."""
        return await self.stores.messages.push_claim(message_id) is not None

    async def cleared(self, message_id: str) -> None:
        async with asyncio.timeout(60):
            while await self.stores.messages.push_claim(message_id) is not None:
                await asyncio.sleep(0.05)

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
