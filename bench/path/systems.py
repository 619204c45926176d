"""What is measured, as it runs: a whole Pabal with accounts and chats in it, and Mosquitto with the baseline's script behind it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from adapters.mongo import open_stores
from adapters.stores import Stores
from adapters.tokens import TokenIssuer
from bench.accounts import Accounts, Rights
from bench.path import cases, naive
from bench.path.cases import AWAY, CASES, PAIRS, Case, Group, Messages
from bench.peer_mosquitto import Mosquitto
from bench.peer_pabal import in_turn
from bench.peers import running
from chat.models import Chat, ChatKind, Grant, Member, Role, User
from stack import replica_set, servers
from stack.ports import Address, free_port
from stack.processes import plan
from stack.settings import StackSettings
from stack.testing import RunningStack

_LIFETIME = timedelta(hours=6)
_SETTLE = 1.0
"""Seconds after which a bridge that came or went has its share of the chats."""
_DROPPED = re.compile(r'^pabal_broker_dropped_total\{reason="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)
_REFUSED = re.compile(r"^pabal_b(?:roker|ridge)_refused_total\{[^}]*\} ([0-9.e+]+)$", re.MULTILINE)
_TAKEN = re.compile(r"^pabal_broker_messages_in_total ([0-9.e+]+)$", re.MULTILINE)
_OUR_ENVIRONMENT = {
    "PABAL_BROKER_LIMIT_ADDRESS_RATE": "0",  # all connections come from one address
    "PABAL_LOG_LEVEL": "warning",
}


@dataclass(frozen=True, slots=True)
class Running:
    """What runs for one case.

    Attributes:
        processes: pid per name: whose CPU counts.
        password: of a handle.
        metrics: where processes tell what they dropped and refused.
        mongo_url: of the mongod behind it.
    """

    port: int
    processes: Mapping[str, int]
    password: Callable[[str], bytes]
    metrics: tuple[str, ...]
    mongo_url: str


class Runs(Protocol):
    """A system that is up, and can be made ready for one case after the other."""

    version: str

    def ready(self, name: str, case: Case) -> AbstractContextManager[Running]:
        """Make the accounts and chats of a case, and as many processes as it wants, until the block ends."""
        ...


# ---- Pabal


@contextmanager
def pabal() -> Iterator[Runs]:
    """`pabal up` on a state of its own, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="pabal-bench-") as directory:
        stack = RunningStack.start(Path(directory), env=_OUR_ENVIRONMENT)
        try:
            yield _Pabal(stack)
        finally:
            stack.stop()


class _Pabal:
    """`Runs`."""

    version = "this tree"

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self._tokens: dict[str, bytes] = {}
        self._issuer = TokenIssuer(stack.state.directory("keys"), ttl=int(_LIFETIME.total_seconds()))

    @contextmanager
    def ready(self, name: str, case: Case) -> Iterator[Running]:
        """See `Runs`."""
        asyncio.run(self._seed(name, case))
        info = self._stack.refresh()
        metrics = [info["metrics"][process] for process in ("broker", "bridge")]
        with contextlib.ExitStack() as opened:
            pids = dict(info["processes"])
            for number in range(2, 1 + (case.bridges if isinstance(case, Messages) else 1)):
                pids[f"bridge {number}"], address = opened.enter_context(self._bridge(number))
                metrics.append(address)
            if len(metrics) > 2:
                time.sleep(_SETTLE)
            yield Running(info["mqtt_port"], pids, self._tokens.__getitem__, tuple(metrics), info["mongo_url"])
        if len(metrics) > 2:
            time.sleep(_SETTLE)

    @contextmanager
    def _bridge(self, number: int) -> Iterator[tuple[int, str]]:
        """One more, told what the stack's own is told but for its HTTP address and name; its pid, and where its metrics are."""
        state = self._stack.state
        base = self._stack.info["mqtt_port"]
        settings = StackSettings(state=state.root, port_base=base, log_level="warning")
        (spec,) = [one for one in plan(settings, state).specs if one.name == "bridge"]
        port = free_port()
        own = {"PABAL_BRIDGE_HTTP": f"127.0.0.1:{port}", "PABAL_BRIDGE_INSTANCE": str(number)}
        with running(spec.argv, [port], state.directory("log") / f"bridge{number}.log", {**spec.env, **own}) as pid:
            _until(lambda: _healthy(port), "the bridge has not come up")
            yield pid, f"http://127.0.0.1:{port}/metrics"

    async def _seed(self, name: str, case: Case) -> None:
        stores = await open_stores(self._stack.info["mongo_url"], StackSettings().mongo_database)
        try:
            chats = _chats(name, case)
            await self._enrol(stores, {person for people in chats.values() for person in people})
            now = datetime.now(UTC)
            await in_turn(_create(stores, chat, people, now) for chat, people in chats.items())
        finally:
            await stores.close()

    async def _enrol(self, stores: Stores, people: Iterable[str]) -> None:
        now = datetime.now(UTC)
        new = [person for person in people if person not in self._tokens]
        await in_turn(stores.users.add(User(person, person, "!", now)) for person in new)
        grants = [Grant(f"bench-{person}", person, f"none {person}", now, now + _LIFETIME) for person in new]
        await in_turn(stores.grants.add(grant) for grant in grants)
        self._tokens |= {grant.user: self._issuer.issue(grant.user, sid=grant.sid).value.encode() for grant in grants}


def _chats(name: str, case: Case) -> dict[str, list[str]]:
    if isinstance(case, Group):
        return {cases.room(name, 0): [cases.member(number) for number in range(case.members)]}
    found = cases.members(name, case.chats)
    return {chat: [*people, *([AWAY] if case.away else [])] for chat, people in found.items()}


async def _create(stores: Stores, chat: str, people: list[str], now: datetime) -> None:
    rows = [Member(chat, person, Role.MEMBER, now) for person in people]
    await stores.chats.create(Chat(chat, ChatKind.GROUP, now, people[0], title="방"), rows)


# ---- the baseline


class _NaiveAccounts(Accounts):
    """The writers and readers of the baseline's cases, with the rights that our policy gives to members."""

    def rights(self) -> dict[str, Rights]:
        """Who may what."""
        own = {name: case for name, case in CASES.items() if isinstance(case, Messages)}
        found = {naive.NAME: Rights(("chats/#",), ("chats/#",))}
        for number in range(PAIRS):
            who, listens = cases.writer(number), cases.reader(number)
            written = [chat for name, case in own.items() for chat in _few(cases.rooms_written, name, case, number)]
            read = [chat for name, case in own.items() for chat in _few(cases.rooms_read, name, case, number)]
            found[who] = Rights(publish=tuple(f"chats/{chat}/send/{who}" for chat in written))
            found[listens] = Rights(subscribe=tuple(f"chats/{chat}/messages" for chat in read))
        return found


def _few(rooms: Callable[[str, int, int], list[str]], name: str, case: Messages, number: int) -> list[str]:
    return rooms(name, case.chats, number) if case.system is cases.System.NAIVE else []


@contextmanager
def baseline() -> Iterator[Runs]:
    """Mosquitto, a mongod as ours is, and the script.

    Raises:
        PeerMissing: Mosquitto is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="pabal-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        accounts = _NaiveAccounts(0)
        mosquitto = Mosquitto(accounts, directory)
        at, data = Address("127.0.0.1", free_port()), directory / "mongo"
        data.mkdir()
        command = servers.mongod_command(servers.find_mongod(), data, at, cache_gb=StackSettings().mongo_cache_gb)
        with running(command, [at.port], directory / "mongo.log") as mongod:
            replica_set.ensure([at])
            yield _Naive(mosquitto, directory, mongod, replica_set.url([at]))


class _Naive:
    """`Runs`: broker and script begin anew with each case."""

    def __init__(self, mosquitto: Mosquitto, directory: Path, mongod: int, mongo_url: str) -> None:
        self.version = mosquitto.version
        self._mosquitto, self._directory = mosquitto, directory
        self._mongod, self._mongo_url = mongod, mongo_url

    @contextmanager
    def ready(self, name: str, case: Case) -> Iterator[Running]:  # noqa: ARG002 - the chats are in the access list
        """See `Runs`."""
        password = self._mosquitto.password
        with self._mosquitto.start(persistent=False) as broker:
            script = [sys.executable, "-m", naive.__name__]
            script += [str(broker.port), password(naive.NAME).decode(), self._mongo_url]
            log = self._directory / f"{name}.log"
            with running(script, [], log) as pid:
                _until(lambda: naive.READY in log.read_text(errors="replace"), "the script has not subscribed")
                pids = {"mongod": self._mongod, "broker": broker.pid, "bridge": pid}
                yield Running(broker.port, pids, password, (), self._mongo_url)


def _until(true: Callable[[], bool], otherwise: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.05)


def _healthy(port: int) -> bool:
    try:
        _read(f"http://127.0.0.1:{port}/healthz")
    except OSError:  # 503 too: its link or its stores are not there yet
        return False
    return True


# ---- what it dropped and refused


@dataclass(frozen=True, slots=True)
class Counts:
    """Since the processes began.

    Attributes:
        dropped: messages that the broker did not deliver, per reason.
        refused: publishes and subscriptions that broker and bridge refused.
    """

    dropped: Mapping[str, int]
    refused: int

    def since(self, before: Counts) -> Counts:
        """What has been added."""
        more = {reason: count - before.dropped.get(reason, 0) for reason, count in self.dropped.items()}
        return Counts({reason: count for reason, count in more.items() if count}, self.refused - before.refused)


def counted(texts: Iterable[str]) -> Counts:
    """From metrics as Prometheus reads them."""
    dropped: dict[str, int] = {}
    refused = 0
    for text in texts:
        for reason, count in _DROPPED.findall(text):
            dropped[reason] = dropped.get(reason, 0) + int(float(count))
        refused += sum(int(float(count)) for count in _REFUSED.findall(text))
    return Counts(dropped, refused)


def counts(running: Running) -> Counts:
    """Of what runs; nothing where nobody counts."""
    return counted(_read(address) for address in running.metrics)


async def quiet(running: Running, *, still: float, seconds: float = 60.0) -> None:
    """Wait until the broker has taken nothing for a while: the receipts of what went before are through.

    Args:
        still: seconds in which nothing comes.
        seconds: after which it is no longer waited for.
    """
    deadline = time.monotonic() + seconds
    before: list[str] | None = None
    while running.metrics and time.monotonic() < deadline:
        taken = [count for address in running.metrics for count in _TAKEN.findall(_read(address))]
        if taken == before:
            return
        before = taken
        await asyncio.sleep(still)


def _read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own process
        return str(answer.read().decode())
