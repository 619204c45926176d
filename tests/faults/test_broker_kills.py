"""The broker alone, killed again and again under load: nothing that it acknowledged is lost, no session is forgotten.

Promise P2 for plain MQTT: persistent sessions are on disk (`docs/decisions/0013-sessions-on-disk.md`).
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from stack import servers
from stack.ports import free_port
from tests.faults.mqtt_peers import Peer, Publisher, Subscriber, findings

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("PABAL_TEST_KILLS", "100"))
SEED = int(os.environ.get("PABAL_TEST_SEED", "20261122"))
PATIENCE = 60.0
"""Seconds until a test gives up; nothing is measured with it."""


class Killable:
    """`python -m broker`, or a program in its place, on one state directory."""

    def __init__(self, directory: Path, program: Sequence[str]) -> None:
        self.port = free_port()
        self._directory = directory
        self._argv = [sys.executable, *program, "--open", "--bind", f"127.0.0.1:{self.port}"]
        self._argv += ["--state", str(directory / "state")]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self._directory / "broker.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                servers.launched(self._argv),
                env={**os.environ, "PABAL_BROKER_LIMIT_QUEUE": "1000000"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the broker did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.01)
            else:
                return

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)


@dataclass
class Load:
    """Publishers and subscribers of every QoS and version, on persistent sessions."""

    port: int
    publishers: list[Publisher] = field(default_factory=list)
    subscribers: list[Subscriber] = field(default_factory=list)
    away: list[Subscriber] = field(default_factory=list)
    """They subscribe, go, and come back when all is over."""
    tasks: dict[Peer, asyncio.Task[None]] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        for version in (4, 5):
            for qos in (1, 2):
                name = f"v{version}q{qos}"
                self.subscribers.append(Subscriber(self.port, f"sub-{name}", version, qos=qos, topic_filter="k/#"))
                self.away.append(Subscriber(self.port, f"away-{name}", version, qos=qos, topic_filter=f"k/pub-{name}"))
                self.publishers.append(
                    Publisher(self.port, f"pub-{name}", version, qos=qos, topic=f"k/pub-{name}", retain=qos == 1)
                )
        listeners = [*self.subscribers, *self.away]
        for peer in listeners:
            self.run(peer)
        await asyncio.wait_for(asyncio.gather(*(peer.subscribed.wait() for peer in listeners)), PATIENCE)
        for peer in self.away:
            await self.end(peer)
        for publisher in self.publishers:
            self.run(publisher)
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in list(self.tasks):
            await self.end(peer)

    def run(self, peer: Peer) -> None:
        self.tasks[peer] = asyncio.create_task(peer.run())

    async def end(self, peer: Peer) -> None:
        task = self.tasks.pop(peer)
        task.cancel()
        await asyncio.wait([task])

    async def settle(self) -> None:
        """Publish no more, and wait until everything has arrived, or nothing more comes."""
        for publisher in self.publishers:
            publisher.stopping = True
        for peer in self.away:
            self.run(peer)
        deadline = time.monotonic() + PATIENCE
        before, still = -1, 0
        while still < 20 and time.monotonic() < deadline:
            now = sum(len(each.received) for each in (*self.subscribers, *self.away))
            still = still + 1 if now == before and all(each.idle for each in self.publishers) else 0
            before = now
            await asyncio.sleep(0.1)

    def found(self) -> Counter[str]:
        found = findings(self.publishers, self.subscribers)
        for subscriber in self.away:
            own = [each for each in self.publishers if f"away-{each.name.removeprefix('pub-')}" == subscriber.name]
            found += findings(own, [subscriber])
        return found


async def kill_again_and_again(broker: Killable, kills: int) -> Load:
    """Load on a broker that is killed at moments of a seeded chance."""
    chance = random.Random(SEED)  # noqa: S311 - which moment is no secret
    await asyncio.to_thread(broker.start)
    async with Load(broker.port) as load:
        for _ in range(kills):
            await asyncio.wait_for(asyncio.gather(*(peer.connected.wait() for peer in load.tasks)), PATIENCE)
            await asyncio.sleep(chance.uniform(0.0, 0.25))
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
        await load.settle()
    return load


async def test_a_hundred_kills_lose_nothing_and_forget_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = Killable(tmp_path, ["-m", "broker"])
    load = await kill_again_and_again(broker, KILLS)
    assert broker.stop() == 0

    acknowledged = sum(len(each.acknowledged) for each in load.publishers)
    received = sum(len(each.received) for each in (*load.subscribers, *load.away))
    with capsys.disabled():
        print(f" {KILLS} kills, seed {SEED}: {acknowledged} acknowledged, {received} received ", end="")  # noqa: T201 - for who reads along
    assert not load.found()
    assert all(each.idle for each in load.publishers)
    assert acknowledged > 10 * KILLS


async def test_a_broker_that_says_it_too_early_is_caught(tmp_path: Path) -> None:
    broker = Killable(tmp_path, [str(Path(__file__).with_name("broken_broker.py"))])
    load = await kill_again_and_again(broker, 5)
    broker.stop()
    assert load.found()["lost"] + load.found()["forgotten"]
