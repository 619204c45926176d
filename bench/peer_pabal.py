"""Our broker as users run it: Pabal's own policy, on a real mongod and Valkey, with sessions on disk.

Users sign in with access tokens, devices and services with their secrets; whose sign-in lives, who owns a device and who is
a member of a chat is looked up in MongoDB. The other processes of a stack are not running.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adapters.mongo import open_stores
from adapters.stores import Stores
from adapters.tokens import TokenIssuer
from bench.accounts import SERVICE, SPEAKER, Accounts, chat, user
from bench.peers import PeerMissing, Running, running
from chat.models import Chat, ChatKind, Device, Grant, Member, Role, User
from stack import replica_set, servers
from stack.ports import Address, free_port

_AT_ONCE = 200
"""Writes under way while accounts are made."""
_LIFETIME = timedelta(hours=6)


class Pabal:
    """`bench.peers.Peer`; made by `with_servers`.

    Args:
        accounts: who may what.
        directory: keys and secrets.
        environment: where mongod and Valkey are.
    """

    name = "Pabal"
    version = "this tree"
    v5 = True
    setup = "the chat policy on MongoDB and Valkey, sessions in memory"

    def __init__(self, accounts: Accounts, directory: Path, environment: dict[str, str]) -> None:
        self._accounts = accounts
        self._services = directory / "services"
        self._environment = environment
        issuer = TokenIssuer(directory / "keys", ttl=int(_LIFETIME.total_seconds()))
        self._passwords = {name: issuer.issue(name, sid=_sid(name)).value.encode() for name in accounts.people()}
        self._passwords |= {name: accounts.password(name).encode() for name in accounts.devices()}
        self._passwords[SERVICE] = (self._services / SERVICE).read_bytes().strip()

    def password(self, name: str) -> bytes:
        """An access token, or the secret of a device or service."""
        return self._passwords[name]

    @contextmanager
    def start(self, *, persistent: bool) -> Iterator[Running]:  # noqa: ARG002 - sessions are always kept on disk
        """Run it, with a new state directory."""
        port, websocket = free_port(), free_port()
        with tempfile.TemporaryDirectory(prefix="pabal-bench-") as state:
            sessions = Path(state, "sessions")
            environment = {
                **self._environment,
                "PABAL_BROKER_TCP": f"127.0.0.1:{port}",
                "PABAL_BROKER_WS": f"127.0.0.1:{websocket}",
                "PABAL_BROKER_HTTP": f"127.0.0.1:{free_port()}",
                "PABAL_BROKER_STATE": str(sessions),
                # All connections come from one address.
                "PABAL_BROKER_LIMIT_ADDRESS_RATE": "0",
            }
            log = Path(state, "log")
            with running([sys.executable, "-m", "broker"], [port, websocket], log, environment) as pid:
                if sessions.exists():
                    self.setup = "the chat policy on MongoDB and Valkey, sessions on disk"
                yield Running(port, (websocket, "/mqtt"), pid, log)


@contextmanager
def with_servers(accounts: Accounts, directory: Path) -> Iterator[Pabal]:
    """MongoDB and Valkey with the accounts in them, until the block ends.

    Raises:
        PeerMissing: one of them is not there.
    """
    try:
        mongod, valkey = servers.find_mongod(), servers.find_valkey()
    except servers.BinaryMissing as missing:
        raise PeerMissing(str(missing)) from None
    mongo_at, valkey_at = Address("127.0.0.1", free_port()), Address("127.0.0.1", free_port())
    data = directory / "mongo"
    data.mkdir()
    mongo = servers.mongod_command(mongod, data, mongo_at, cache_gb=0.5)
    with (
        running(mongo, [mongo_at.port], directory / "mongo.log"),
        running(servers.valkey_command(valkey, directory, valkey_at), [valkey_at.port], directory / "valkey.log"),
    ):
        replica_set.ensure([mongo_at])
        environment = {
            "PABAL_MONGO_URL": replica_set.url([mongo_at]),
            "PABAL_MONGO_DATABASE": "bench",
            "PABAL_VALKEY_URL": servers.valkey_url(valkey_at),
            "PABAL_KEYS_DIR": str(directory / "keys"),
            "PABAL_JWKS_FILE": str(directory / "jwks.json"),
            "PABAL_SERVICES_DIR": str(directory / "services"),
        }
        subprocess.run(
            [sys.executable, "-m", "api.bootstrap"], check=True, capture_output=True, env={**os.environ, **environment}
        )
        asyncio.run(_seed(accounts, environment))
        yield Pabal(accounts, directory, environment)


async def _seed(accounts: Accounts, environment: dict[str, str]) -> None:
    stores = await open_stores(environment["PABAL_MONGO_URL"], environment["PABAL_MONGO_DATABASE"])
    try:
        now = datetime.now(UTC)
        await in_turn(stores.users.add(User(name, name, "!", now)) for name in accounts.people())
        await in_turn(
            stores.grants.add(Grant(_sid(name), name, _sha256(f"refresh {name}"), now, now + _LIFETIME))
            for name in accounts.people()
        )
        for name, owner in accounts.devices().items():
            await stores.devices.add(Device(name, owner, name, _sha256(accounts.password(name)), now))
        for size in accounts.chats:
            await _chat(stores, size, now)
    finally:
        await stores.close()


async def _chat(stores: Stores, size: int, now: datetime) -> None:
    room = chat(size)
    members = [Member(room, SPEAKER, Role.OWNER, now)]
    members += [Member(room, user(number), Role.MEMBER, now) for number in range(size)]
    await stores.chats.create(Chat(room, ChatKind.GROUP, now, SPEAKER, title="방"), members)


async def in_turn(work: Iterable[Awaitable[object]]) -> None:
    """Await all of it, some at a time."""
    for some in _slices(work, _AT_ONCE):
        await asyncio.gather(*some)


def _slices(work: Iterable[Awaitable[object]], size: int) -> Iterator[list[Awaitable[object]]]:
    left = iter(work)
    while some := list(itertools.islice(left, size)):
        yield some


def _sid(name: str) -> str:
    return f"bench-{name}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
