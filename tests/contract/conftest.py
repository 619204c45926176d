"""The stores of `chat.ports`, in memory and on a real MongoDB: what a test asks of `stores` must hold for both. And the emulator of
a push provider."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from adapters.memory import memory_stores
from adapters.mongo import open_stores
from adapters.stores import Stores
from stack import ports, servers


class Spare:
    """A migrated database that the next test may have: to make one takes a quarter of a second, to empty one some milliseconds."""

    def __init__(self, mongo_url: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(mongo_url, serverSelectionTimeoutMS=5000)
        self.name: str | None = None

    def take(self) -> str:
        name, self.name = self.name or f"test_{uuid.uuid4().hex[:16]}", None
        return name

    def give_back(self, name: str) -> None:
        """Empty it; one that is not as the migrations make it is dropped."""
        database = self._client[name]
        options = {row["name"]: row["options"] for row in database.list_collections()}
        if "schema_migrations" not in options or any(options.values()):
            self._client.drop_database(name)
            return
        for collection in options.keys() - {"schema_migrations"}:
            database[collection].delete_many({})
        self.name = name

    def close(self) -> None:
        self._client.close()


@pytest.fixture(scope="session")
def spare(mongo_url: str) -> Iterator[Spare]:
    found = Spare(mongo_url)
    yield found
    found.close()


@pytest.fixture
def stores_database(spare: Spare) -> Iterator[str]:
    """The name of the database of `stores`: empty, and migrated or about to be."""
    name = spare.take()
    yield name
    spare.give_back(name)


@pytest.fixture(params=["memory", "mongo"])
async def stores(request: pytest.FixtureRequest) -> AsyncIterator[Stores]:
    if request.param == "memory":
        opened = memory_stores()
    else:
        opened = await open_stores(request.getfixturevalue("mongo_url"), request.getfixturevalue("stores_database"))
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
