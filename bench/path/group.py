"""One message to a large chat: how long until all who are connected have it, and what is written for it."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient

from bench.client import LoadClient
from bench.path.cases import Group, member, room
from bench.path.load import Clock, sender
from bench.path.systems import Counts, Running, counts
from stack.settings import StackSettings

SECONDS = 60.0
_AT_ONCE = 40
_QUIET = 3.0
"""Seconds after which receipts and pushes of a message are through."""
_COLLECTIONS = ("messages", "receipts")
_MIDDLE = "-7fff-8000-"


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What one message to the chat took: medians over some messages for times, means for counts. Times are seconds.

    Attributes:
        acked: publish to PUBACK.
        first: publish to the first member's receiving it.
        last: publish to the last one's.
        copies: PUBLISH packets per connected member: 1 if it was published once.
        writes: what mongod did for it, receipts included: rows added to `messages` and `receipts`, documents updated, and
            write commands (inserts, updates).
        cpu: seconds of each process, and of `load`.
        dropped: what the broker counted as dropped, per reason.
    """

    acked: float
    first: float
    last: float
    copies: float
    writes: Mapping[str, float]
    cpu: Mapping[str, float] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Sent:
    acked: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)


async def measure_group(name: str, case: Group, running: Running) -> GroupResult:
    """Connect as many members as the case says, and send.

    Raises:
        RuntimeError: a message was refused.
        TimeoutError: not all have it.
        ConnectionError: the broker hung up.
    """
    chat = room(name, 0)
    clients = await _connected(chat, case, running)
    mongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(running.mongo_url)
    make = sender(member(0), [chat], _MIDDLE)
    try:
        await _send(clients, make())  # rosters and heads are in memory then, as in the long run
        await asyncio.sleep(_QUIET)
        idle = await _writes(mongo)
        await asyncio.sleep(_QUIET)
        before, refused = await _writes(mongo), counts(running)
        background = {what: (before[what] - idle[what]) / _QUIET for what in before}
        sent, received = _Sent(), sum(client.received for client in clients)
        with Clock(running.processes) as clock:
            for _ in range(case.messages):
                _note(sent, await _send(clients, make()))
                await asyncio.sleep(_QUIET)
        written = await _writes(mongo)
        more = {what: written[what] - before[what] - background[what] * clock.elapsed for what in written}
        copies = (sum(client.received for client in clients) - received) / len(clients) / case.messages
        return _result(case, sent, copies, more, clock, counts(running).since(refused))
    finally:
        for client in clients:
            client.close()
        await mongo.close()


async def _connected(chat: str, case: Group, running: Running) -> list[LoadClient]:
    limit = asyncio.Semaphore(_AT_ONCE)

    async def connect(number: int) -> LoadClient:
        async with limit:
            who = member(number)
            client = LoadClient(who, username=who, password=running.password(who))
            await client.open("127.0.0.1", running.port)
            await client.subscribe(f"chats/{chat}/messages")
            client.start()
            return client

    return list(await asyncio.gather(*(connect(number) for number in range(case.online))))


async def _send(clients: Sequence[LoadClient], parts: tuple[bytes, bytes]) -> tuple[float, float, float]:
    """One message by the first of them; seconds to its PUBACK, to the first and to the last delivery."""
    speaker, start = clients[0], time.perf_counter()
    arrived: list[float] = []
    for client in clients:
        client.on_receive = lambda *_: arrived.append(time.perf_counter())
    speaker.latencies.clear()
    speaker.publish_now(parts)
    while len(arrived) < len(clients) or not speaker.latencies:
        for client in clients:
            client.check()
        if time.perf_counter() - start > SECONDS:
            raise TimeoutError(f"{len(clients) - len(arrived)} of {len(clients)} members don't have the message")
        await asyncio.sleep(0.01)
    return speaker.latencies[0], arrived[0] - start, arrived[-1] - start


def _note(sent: _Sent, times: tuple[float, float, float]) -> None:
    for values, seconds in zip((sent.acked, sent.first, sent.last), times, strict=True):
        values.append(seconds)


async def _writes(mongo: AsyncMongoClient[dict[str, Any]]) -> dict[str, float]:
    """Rows, and what mongod has counted since it began."""
    database = mongo[StackSettings().mongo_database]
    found: dict[str, float] = {}
    for collection in _COLLECTIONS:
        found[f"rows in {collection}"] = await database[collection].estimated_document_count()
    status = await mongo.admin.command("serverStatus")
    found["documents updated"] = status["metrics"]["document"]["updated"]
    found["inserts"], found["updates"] = status["opcounters"]["insert"], status["opcounters"]["update"]
    return found


def _result(
    case: Group, sent: _Sent, copies: float, more: Mapping[str, float], clock: Clock, since: Counts
) -> GroupResult:
    if since.refused:
        raise RuntimeError(f"{since.refused} messages were refused: this is no measurement")
    return GroupResult(
        *(statistics.median(sent.acked), statistics.median(sent.first), statistics.median(sent.last), copies),
        {what: count / case.messages for what, count in more.items()},
        {name: seconds / case.messages for name, seconds in clock.cpu.items()},
        since.dropped,
    )
