"""What is done to a running stack: one function per fault. Each returns when its cause is gone; what follows heals by itself."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pymongo import MongoClient
from redis import Redis

from stack.testing import RunningStack
from tests.faults.workload import Workload

POISON = "독이 든 편지 ☠"


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a fault strikes. `disk`: the data directory of mongod2 when it is a small disk of its own, else None."""

    stack: RunningStack
    work: Workload
    random: random.Random
    disk: Path | None


Fault = Callable[[Scene], None]


def mongo_primary_killed(scene: Scene) -> None:
    """The next primary is elected."""
    scene.stack.kill(scene.stack.primary())


def mongo_primary_frozen(scene: Scene) -> None:
    """It keeps its connections and answers nobody; when it thaws, it is primary no more and does not know."""
    with _frozen(scene.stack, scene.stack.primary()):
        time.sleep(scene.random.uniform(3.0, 8.0))


def mongo_unreachable(scene: Scene) -> None:
    """All nodes frozen."""
    with _frozen(scene.stack, *scene.stack.refresh()["mongo_nodes"]):
        time.sleep(scene.random.uniform(4.0, 8.0))


def link_cut(scene: Scene) -> None:
    """The broker throws the bridge out."""
    secret = scene.stack.state.broker_admin.read_text().strip()
    base = scene.stack.info["metrics"]["broker"].removesuffix("/metrics") + "/admin/clients"
    with httpx.Client(headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=10.0) as client:
        for one in client.get(base, params={"prefix": "svc-bridge"}).raise_for_status().json()["items"]:
            client.delete(f"{base}/{one['client_id']}").raise_for_status()


def valkey_killed(scene: Scene) -> None:
    """It comes back empty."""
    scene.stack.kill("valkey")


def valkey_flushed(scene: Scene) -> None:
    """Everything in it is gone, and nobody is told."""
    with Redis.from_url(scene.stack.info["valkey_url"]) as client:
        client.flushall()


def bridge_killed(scene: Scene) -> None:
    """At any moment."""
    scene.stack.kill("bridge")


def bridge_killed_before_commit(scene: Scene) -> None:
    """While its writes wait for a majority: they may be kept or not, and nobody was told anything."""
    primary = scene.stack.primary()
    with _frozen(scene.stack, *(name for name in scene.stack.refresh()["mongo_nodes"] if name != primary)):
        time.sleep(0.3)
        scene.stack.kill("bridge")


def bridge_killed_after_commit(scene: Scene) -> None:
    """As soon as a write is seen: it is stored, and hardly anybody was told."""
    with (
        MongoClient[dict[str, Any]](scene.stack.info["mongo_url"]) as client,
        client["pabal"]["messages"].watch(max_await_time_ms=500) as changes,
    ):
        deadline = time.monotonic() + 5.0
        while changes.try_next() is None and time.monotonic() < deadline:
            pass
        scene.stack.kill("bridge")


def broker_killed(scene: Scene) -> None:
    """Every client has to come back."""
    scene.stack.kill("broker")


def api_killed(scene: Scene) -> None:
    """Chats don't notice."""
    scene.stack.kill("api")


def worker_killed(scene: Scene) -> None:
    """Pushes wait."""
    scene.stack.kill("worker")


def poison_message(scene: Scene) -> None:
    """The database refuses one message for a reason that nobody knows; its neighbours pass, and it is parked."""
    text = f"{POISON} {scene.random.random()}"
    with forbidden(scene.stack, text):
        operation = scene.work.poison(text)
        deadline = time.monotonic() + 60.0
        while operation.ended is None and time.monotonic() < deadline:
            time.sleep(0.05)


def disk_full(scene: Scene) -> None:
    """The disk of one mongod: it dies and dies again, until there is room."""
    assert scene.disk is not None
    filler = scene.disk / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        time.sleep(scene.random.uniform(4.0, 6.0))
    finally:
        filler.unlink(missing_ok=True)


def intruder(scene: Scene) -> None:
    """Nothing breaks: somebody who is no member tries to get in, in the middle of it all."""
    threading.Thread(target=_quietly, args=(scene.work.intrude,), daemon=True).start()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        mongo_primary_killed,
        mongo_primary_frozen,
        mongo_unreachable,
        link_cut,
        valkey_killed,
        valkey_flushed,
        bridge_killed,
        bridge_killed_before_commit,
        bridge_killed_after_commit,
        broker_killed,
        api_killed,
        worker_killed,
        poison_message,
        disk_full,
        intruder,
    )
}


def _quietly(act: Callable[[], None]) -> None:
    with contextlib.suppress(Exception):  # whoever can't even sign in while the API is down has not got in
        act()


@contextlib.contextmanager
def _frozen(stack: RunningStack, *names: str) -> Iterator[None]:
    pids = [stack.pause(name) for name in names]
    try:
        yield
    finally:
        for pid in pids:
            stack.resume(pid)


@contextlib.contextmanager
def forbidden(stack: RunningStack, text: str) -> Iterator[None]:
    """The database refuses a message with this text, for a reason that nobody knows."""
    with MongoClient[dict[str, Any]](stack.info["mongo_url"]) as client:
        client["pabal"].command("collMod", "messages", validator={"body.text": {"$ne": text}})
        try:
            yield
        finally:
            client["pabal"].command("collMod", "messages", validator={})
