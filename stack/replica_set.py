"""The replica set `pabal` of one mongod or three: made, found again after a change of ports, grown, and asked how it is.

The set remembers its members' `host:port`. After a start with another `--port-base` the stored ones are somebody else's, and
every mongod sits there as REMOVED; after `--mongo-nodes 3` on the data of one, two are missing. Both are a reconfiguration by
force, which changes who belongs to the set and no data: whoever is elected afterwards needs the votes of a majority, and nobody
votes for a node that has less than itself. The other way, from three to one, is refused: the node that is left may be the one
that a majority write has not reached.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, ConnectionFailure, OperationFailure, PyMongoError

from stack.ports import Address

NAME = "pabal"

NODES = ("mongo", "mongo1", "mongo2")
"""Names of the port table and of the state's directories, in the order of the members."""

ELECTION = {
    # Without a sign of the primary for so long, a secondary stands for election; mongod's own 10 s are for networks that hiccup.
    # A primary that sees no majority for so long steps down. Less, and a machine that is busy for a moment loses its primary.
    "electionTimeoutMillis": 2_000,
    # Members ask each other so often whether they live and how far they are (2 s). When the primary froze, a secondary goes on
    # telling it what it has written, for up to 30 s; meanwhile the next primary learns of the majority from these alone (measured:
    # 40 messages a second with 500 ms).
    "heartbeatIntervalMillis": 100,
    # One that does not answer in so many seconds counts as down (10 s).
    "heartbeatTimeoutSecs": 2,
    # A primary that was just elected looks for so long for writes that it has not got (no limit); whatever a majority has, it has.
    "catchUpTimeoutMillis": 500,
    # Secondaries copy from the primary only, not from each other (true): a chain takes seconds to re-form when its head freezes.
    "chainingAllowed": False,
}
"""So that writes go on about three seconds after a primary died or froze. In brackets mongod's defaults."""

PROBE_SECONDS = 1.0
"""A probe that takes longer has failed; who asked asks again."""

_NOT_YET_INITIALIZED = 94
"""Server error code of replSetGetConfig before replSetInitiate."""

_NODE_NOT_FOUND = 74
"""The same of replSetInitiate while another member is starting."""

_PRIMARY, _SECONDARY = 1, 2


class SetIsLarger(Exception):
    """The data belong to a set of more nodes than are asked for."""


@dataclass(frozen=True, slots=True)
class MemberState:
    """One node, as the set sees it; `state` is PRIMARY, SECONDARY, (not reachable/healthy), …"""

    host: str
    state: str
    well: bool


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks mongods that want to know; `source` is the database that knows the name."""

    name: str
    password: str = field(repr=False)
    source: str


def url(addresses: Sequence[Address]) -> str:
    """How clients reach the set; they follow it through its discovery, so a restart or an election is waited for."""
    return f"mongodb://{','.join(map(str, addresses))}/?replicaSet={NAME}"


def ensure(addresses: Sequence[Address], *, seconds: float = 30.0, login: Login | None = None) -> None:
    """Make the mongods at `addresses` one set, whatever they were before, and wait until the first of them works in it.

    Args:
        addresses: where the members find each other, the first one first.
        seconds: how long it may take.
        login: for mongods that ask for one; ours on loopback don't.

    Raises:
        TimeoutError: it does not after `seconds`.
        SetIsLarger: it belongs to a larger set.
        PyMongoError: mongod refuses (its data belong to another set, …).
    """
    deadline = time.monotonic() + seconds
    with _client(f"mongodb://{addresses[0]}/", direct=True, login=login) as client:
        while True:
            try:
                _configure(client, addresses)
                if _works(client):
                    return
            except (AutoReconnect, ConnectionFailure):
                pass  # it is starting, or closed our connection since its state changed: ask again until the deadline
            if time.monotonic() > deadline:
                raise TimeoutError(f"mongod at {addresses[0]}: its set has no primary after {seconds:g} s")
            time.sleep(0.05)


def member_problem(address: Address) -> str | None:
    """What keeps this node from taking part in a set that somebody else configures; None when nothing does."""
    try:
        with _client(f"mongodb://{address}/", direct=True) as client:
            return None if _works(client) else f"mongod at {address} has not found its set's primary"
    except PyMongoError as error:
        return f"mongod at {address} does not answer: {type(error).__name__}"


def problem(where: str) -> str | None:
    """What keeps the set behind a URL from taking majority writes; None when nothing does."""
    try:
        with _client(where) as client:
            hello = client.admin.command("hello")
    except PyMongoError as error:
        return f"it does not answer: {type(error).__name__}"
    if "setName" not in hello:
        return "it is no replica set: start it with --replSet and initiate it"
    if not hello.get("isWritablePrimary"):
        return f"its replica set {hello['setName']} has no primary"
    return None


def members(addresses: Sequence[Address]) -> list[MemberState]:
    """The nodes, as the first that answers sees them; empty when none does."""
    for address in addresses:
        try:
            with _client(f"mongodb://{address}/", direct=True) as client:
                found = client.admin.command("replSetGetStatus")["members"]
        except PyMongoError:
            continue
        return [MemberState(one["name"], one["stateStr"], one["state"] in (_PRIMARY, _SECONDARY)) for one in found]
    return []


def _works(client: MongoClient[dict[str, Any]]) -> bool:
    """It is the primary, or follows one."""
    hello = client.admin.command("hello")
    return bool(hello.get("isWritablePrimary") or (hello.get("secondary") and hello.get("primary")))


def _configure(client: MongoClient[dict[str, Any]], addresses: Sequence[Address]) -> None:
    hosts = [str(address) for address in addresses]
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        _initiate(client, hosts)
        return
    known = config["members"]
    if len(known) > len(hosts):
        raise SetIsLarger(
            f"its data belong to a set of {len(known)} nodes: a smaller one could miss what was acknowledged; "
            f"start it with --mongo-nodes {len(known)}"
        )
    if [member["host"] for member in known] != hosts:
        config["members"] = [
            {**(known[number] if number < len(known) else {"_id": number}), "host": host}
            for number, host in enumerate(hosts)
        ]
        config["settings"] |= ELECTION
        config["version"] += 1
        client.admin.command("replSetReconfig", config, force=True)


def _initiate(client: MongoClient[dict[str, Any]], hosts: Sequence[str]) -> None:
    members = [{"_id": number, "host": host} for number, host in enumerate(hosts)]
    try:
        client.admin.command("replSetInitiate", {"_id": NAME, "members": members, "settings": ELECTION})
    except OperationFailure as error:
        if error.code != _NODE_NOT_FOUND:
            raise


def _client(where: str, *, direct: bool = False, login: Login | None = None) -> MongoClient[dict[str, Any]]:
    timeout = int(PROBE_SECONDS * 1000)
    credentials: dict[str, Any] = {}
    if login is not None:
        credentials = {"username": login.name, "password": login.password, "authSource": login.source}
    return MongoClient(
        where,
        **credentials,
        directConnection=direct,
        serverSelectionTimeoutMS=timeout,
        connectTimeoutMS=timeout,
        socketTimeoutMS=5 * timeout,  # replSetInitiate writes its first documents before it answers
    )
