"""Several bridges that come and go while people write (P3, P4); and without the fence, the checker sees what it was there for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pymongo import MongoClient

from stack import ports, servers
from stack.testing import RunningStack
from tests.conftest import Stacks, end
from tests.faults.broken_builds import SCATTER
from tests.faults.checker import Run, check, summary
from tests.faults.workload import Workload

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300)]

READY_SECONDS = 60.0


class Bridges:
    """More bridges beside the stack's own one."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._running: list[subprocess.Popen[bytes]] = []
        self._number = 0

    def join(self) -> None:
        """One more; returns once it takes messages."""
        self._number += 1
        http = f"127.0.0.1:{ports.free_port()}"
        own = psutil.Process(self._stack.refresh()["processes"]["bridge"]).environ()
        env = {**own, "PABAL_BRIDGE_INSTANCE": f"more-{self._number}", "PABAL_BRIDGE_HTTP": http}
        log = self._stack.state.log(f"bridge-{self._number}").open("wb")
        process = subprocess.Popen(
            servers.launched([sys.executable, "-m", "bridge"]), env=env, stdout=log, stderr=subprocess.STDOUT
        )
        self._running.append(process)
        deadline = time.monotonic() + READY_SECONDS
        while not _well(f"http://{http}/healthz"):
            assert process.poll() is None, "it ended"
            assert time.monotonic() < deadline, "it is not ready"
            time.sleep(0.05)

    def leave(self) -> None:
        """The oldest ends in order."""
        assert _ended(self._running.pop(0), signal.SIGTERM) == 0

    def die(self) -> None:
        """The oldest is killed."""
        _ended(self._running.pop(0), signal.SIGKILL)

    def close(self) -> None:
        """All that are left."""
        while self._running:
            end(self._running.pop())


def _well(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _ended(process: subprocess.Popen[bytes], how: signal.Signals) -> int:
    os.kill(process.pid, how)
    return process.wait(30)


@contextlib.contextmanager
def writing(work: Workload) -> Iterator[None]:
    """Members write, some hundred messages a second, until the block ends."""
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            if len(work.run.operations) - work.acked() < 500:
                work.send(10)
            ended.wait(0.02)

    thread = threading.Thread(target=write, name="writing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def come_and_go(bridges: Bridges, *, most: int) -> None:
    """From one to `most` and back to one."""
    for _ in range(most - 1):
        bridges.join()
        time.sleep(0.5)
    if most > 1:
        bridges.die()
        time.sleep(0.5)
    for _ in range(most - 2):
        bridges.leave()
        time.sleep(0.5)
    time.sleep(0.5)


@pytest.fixture(scope="module")
def shared(module_stacks: Stacks) -> RunningStack:
    """One stack for those tests that leave it whole."""
    return module_stacks()


@pytest.mark.parametrize("most", [1, 2, pytest.param(4, marks=pytest.mark.long)])
def test_bridges_come_and_go_while_people_write(shared: RunningStack, most: int) -> None:
    with Workload(shared, outbox=4_000) as work, contextlib.closing(Bridges(shared)) as bridges:
        with writing(work):
            come_and_go(bridges, most=most)
        run = work.finish()
    findings = check(run)
    assert not findings, summary(findings)
    assert run.acked == set(run.sent), "every message is acknowledged in the end"


@pytest.fixture
def scattered(own_stack: Stacks, tmp_path: Path) -> RunningStack:
    """A stack whose broker gives each message to any bridge, so that all of them write to every chat at once."""
    (tmp_path / "broken").write_text(SCATTER)
    program = (str(Path(__file__).with_name("broken_stack.py")),)
    return own_stack(program=program, env={"BROKEN": str(tmp_path / "broken")})


def write_to_one_chat_from_three_bridges(stack: RunningStack) -> Run:
    with Workload(stack, outbox=4_000) as work, contextlib.closing(Bridges(stack)) as bridges:
        bridges.join()
        bridges.join()
        work.send(600)
        return work.finish(patience=30)


def test_the_fences_keep_the_order_and_without_them_one_place_is_given_twice(scattered: RunningStack) -> None:
    """That a chat sticks to a bridge makes it fast. The unique index on (chat, seq) is what makes it true."""
    findings = check(write_to_one_chat_from_three_bridges(scattered))
    assert not findings, summary(findings)

    with MongoClient[dict[str, Any]](scattered.info["mongo_url"]) as client:
        messages = client["pabal"]["messages"]
        messages.drop_index("chat_id_1_seq_1")
        messages.create_index([("chat_id", 1), ("seq", 1)])
    findings = check(write_to_one_chat_from_three_bridges(scattered))
    assert "gap" in {finding.kind for finding in findings}, summary(findings)
