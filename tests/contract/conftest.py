"""The stores of `chat.ports`, in memory and on a real MongoDB: what a test asks of `stores` must hold for both. And the emulator of
a push provider."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from adapters.memory import memory_stores
from adapters.mongo import open_stores
from adapters.stores import Stores
from stack import ports, servers


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        opened = memory_stores()
    else:
        opened = await open_stores(request.getfixturevalue("mongo_url"), request.getfixturevalue("mongo_database"))
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def fcm_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A running FCM emulator: its address, and the service account file that it made."""
    state = tmp_path_factory.mktemp("fcm")
    address = ports.Address("127.0.0.1", ports.free_port())
    argv = [sys.executable, "-m", "stack.fcm_emulator", "--bind", str(address), "--state", str(state)]
    process = subprocess.Popen(servers.launched(argv))
    url = f"http://{address}"
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{url}/healthz").raise_for_status()
            break
        except httpx.TransportError:
            assert process.poll() is None, "the emulator ended"
            assert time.monotonic() < deadline, "the emulator did not start"
            time.sleep(0.05)
    yield url, state / "service-account.json"
    process.terminate()
    assert process.wait(20) == 0
