"""Real servers for tests: mongod as a replica set of one, Valkey, and the whole stack.

A server that is missing on a desk skips the tests that need it; in CI (environment variable CI) it fails them. Everything is
started by the fixture that ends it, and dies with pytest even on kill -9 (`stack.child`).
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from pymongo import MongoClient

from stack import ports, replica_set, servers
from stack.ports import Address
from stack.testing import RunningStack

READY_SECONDS = 60.0
STOP_SECONDS = 20.0


LONG = bool(os.environ.get("LONG"))
ASKED_FOR = {"long": LONG, "compose": bool(os.environ.get("COMPOSE"))}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes long, unless LONG=1 asks for it, and what needs a container engine, unless COMPOSE=1 does."""
    unasked = [name for name, asked in ASKED_FOR.items() if not asked]
    left_out = [item for item in items if any(item.get_closest_marker(name) for name in unasked)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def unavailable(why: str) -> NoReturn:
    """A part that the test needs is missing: skip at a desk, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@contextmanager
def running(argv: Sequence[str], log: Path, *, ready: Callable[[], str | None]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `argv` until the block ends; the block starts once `ready` reports no problem any more."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            servers.launched(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while (problem := ready()) is not None:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                pytest.fail(f"{argv[0]} did not become ready ({problem}):\n{tail}")
            time.sleep(0.02)
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for what has not ended in time."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Call it for a TCP port on loopback that nobody uses now."""
    return ports.free_port


@pytest.fixture(scope="session")
def mongo_url() -> Iterator[str]:
    """A real mongod, primary of a replica set of one, with nothing in it."""
    try:
        binary = servers.find_mongod()
    except servers.BinaryMissing as missing:
        unavailable(str(missing))
    address = Address("127.0.0.1", ports.free_port())

    def ready() -> str | None:
        try:
            replica_set.ensure([address], seconds=1.0)
        except TimeoutError as error:
            return str(error)
        return None

    with tempfile.TemporaryDirectory(prefix="pabal-mongo-", ignore_cleanup_errors=True) as directory:
        data = Path(directory, "data")
        data.mkdir()
        argv = servers.mongod_command(binary, data, address, cache_gb=0.5)
        # Each test has a database of its own with some 70 files, which stay open after it was dropped until the next checkpoint.
        argv += ["--syncdelay", "5"]
        with running(argv, Path(directory, "log"), ready=ready):
            yield replica_set.url([address])


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """A real Valkey, empty at the start of the session; database 0."""
    try:
        binary = servers.find_valkey()
    except servers.BinaryMissing as missing:
        unavailable(str(missing))
    address = Address("127.0.0.1", ports.free_port())
    url = servers.valkey_url(address)
    with tempfile.TemporaryDirectory(prefix="pabal-valkey-") as directory:
        argv = servers.valkey_command(binary, Path(directory), address)
        with running(argv, Path(directory, "log"), ready=lambda: servers.valkey_problem(url)):
            yield url


@pytest.fixture
def mongo_database(mongo_url: str) -> Iterator[str]:
    """The name of a database of the test's own; it is dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    yield name
    with MongoClient[dict[str, object]](mongo_url, serverSelectionTimeoutMS=5000) as client:
        client.drop_database(name)


Stacks = Callable[..., RunningStack]


@contextmanager
def stacks(directory: Path) -> Iterator[Stacks]:
    """A factory of stacks with the arguments of `RunningStack.start`; all of them end with the block."""
    for find in (servers.find_mongod, servers.find_valkey):
        try:
            find()
        except servers.BinaryMissing as missing:
            unavailable(str(missing))
    started: list[RunningStack] = []

    def start(root: Path | None = None, **arguments: Any) -> RunningStack:
        running_stack = RunningStack.start(root or directory / f"stack{len(started)}", **arguments)
        started.append(running_stack)
        return running_stack

    try:
        yield start
    finally:
        for one in reversed(started):
            one.stop()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole stack, shared by all tests: leave it as healthy as you found it."""
    with stacks(tmp_path_factory.mktemp("stack")) as start:
        yield start()


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stacks]:
    """A factory of stacks of the test's own, to kill and break: `own_stack()`, `own_stack(root, port_base=…, env={…})`."""
    with stacks(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def module_stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stacks]:
    """The same for stacks that a module's tests share."""
    with stacks(tmp_path_factory.mktemp("stacks")) as start:
        yield start
