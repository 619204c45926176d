"""Writers and readers: sends the messages of a case and says what came out."""

from __future__ import annotations

import asyncio
import gc
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from bench.client import LoadClient
from bench.path.cases import PAIRS, SIZE, Messages, reader, rooms_read, rooms_written, writer
from bench.path.systems import Counts, Running, counts, quiet
from bench.stats import busy_seconds, cpu_seconds, percentile
from mqtt.codec import publish_parts

SECONDS = 120.0
"""The longest that one measurement may take beyond the time in which it sends."""
_STALLED = 10.0
"""Seconds without a delivery after which what is missing counts as missing."""
_STILL, _CHATS_PER_SECOND = 0.5, 2_000
"""The bridge stores the receipts of so many chats and then tells of them: until then it is still without having ended."""
_MARK = b'"@'
_STAMP = 18
_LOOK = 0.002

Times = tuple[float, float]
"""p50 and p99 in seconds."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. Times are seconds.

    Attributes:
        messages: sent, all of them acknowledged.
        elapsed: until the last was acknowledged and delivered.
        acked: publish to PUBACK; what that says depends on the system.
        delivered: publish to the reader's receiving it.
        cpu: seconds of each process, and of `load`.
        others: cores that everything else on the machine used.
        missing: not delivered in the end.
        dropped: what the broker counted as dropped, per reason.
    """

    messages: int
    elapsed: float
    acked: Times
    delivered: Times
    cpu: Mapping[str, float] = field(default_factory=dict)
    others: float = 0.0
    missing: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.elapsed

    @property
    def lost(self) -> int:
        """Missing, and not counted as dropped: there must be none."""
        return max(0, self.missing - sum(self.dropped.values()))


@dataclass(frozen=True, slots=True)
class Pair:
    """One who writes and one who reads."""

    writer: LoadClient
    reader: LoadClient
    make: Callable[[], tuple[bytes, bytes]]


async def measure(name: str, case: Messages, running: Running) -> Result:
    """Connect, warm up, send for as long as the case says, and await all of it.

    Raises:
        RuntimeError: a message was refused.
        TimeoutError: acknowledgements are missing.
        ConnectionError: the broker hung up.
    """
    pairs = [await _pair(name, case, running, number) for number in range(PAIRS)]
    try:
        await _warm(case, pairs)
        await quiet(running, still=_STILL + case.chats / _CHATS_PER_SECOND)
        gc.collect()
        gc.freeze()  # a collection of the load generator's (25 ms) would be measured as the path's latency
        before, sent = counts(running), sum(pair.writer.sent for pair in pairs)
        with Clock(running.processes) as clock:
            await (_steady if case.rate else _full)(case, pairs)
            missing = await _finished(pairs)
        since = counts(running).since(before)
        return _result(pairs, sum(pair.writer.sent for pair in pairs) - sent, clock, since, missing)
    finally:
        gc.unfreeze()
        for pair in pairs:
            pair.writer.close()
            pair.reader.close()


async def _pair(name: str, case: Messages, running: Running, number: int) -> Pair:
    writes, reads = [await _client(who, running) for who in (writer(number), reader(number))]
    if read := rooms_read(name, case.chats, number):
        await reads.subscribe(*(f"chats/{chat}/messages" for chat in read))
    writes.start()
    reads.start()
    reads.on_receive = delays(reads)
    return Pair(writes, reads, messages(number, rooms_written(name, case.chats, number)))


async def _client(who: str, running: Running) -> LoadClient:
    client = LoadClient(who, username=who, password=running.password(who))
    await client.open("127.0.0.1", running.port)
    return client


async def _warm(case: Messages, pairs: Sequence[Pair]) -> None:
    """One message to each chat at least: each is then in use, as it is in the long run."""
    count = max(10, -(-case.chats // len(pairs)))
    for pair in pairs:
        pair.writer.publish(count, 10, pair.make)
    if missing := await _finished(pairs):
        raise TimeoutError(f"{missing} messages are missing before the measurement")
    for pair in pairs:
        pair.writer.latencies.clear()
        pair.reader.delays.clear()


async def _full(case: Messages, pairs: Sequence[Pair]) -> None:
    """As fast as the windows allow."""
    for pair in pairs:
        pair.writer.publish(case.most // len(pairs), case.window, pair.make)
    end = time.perf_counter() + case.seconds
    while time.perf_counter() < end and not all(pair.writer.idle for pair in pairs):  # noqa: ASYNC110 - many clients, one look at them
        await asyncio.sleep(_LOOK)
    for pair in pairs:
        pair.writer.stop()


async def _steady(case: Messages, pairs: Sequence[Pair]) -> None:
    """At a fixed rate, whatever is unanswered."""
    start = time.perf_counter()
    for number in range(int(case.rate * case.seconds)):
        ahead = start + number / case.rate - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        pair = pairs[number % len(pairs)]
        pair.writer.publish_now(pair.make())


async def _finished(pairs: Sequence[Pair]) -> int:
    """Wait until all is answered and delivered; how many are not delivered, when nothing more comes."""
    deadline = time.perf_counter() + SECONDS
    received, since = -1, time.perf_counter()
    while True:
        for pair in pairs:
            pair.writer.check()
            pair.reader.check()
        now = time.perf_counter()
        sent = sum(pair.writer.sent for pair in pairs)
        if (got := sum(pair.reader.received for pair in pairs)) != received:
            received, since = got, now
        answered = all(pair.writer.idle for pair in pairs)
        if answered and (received >= sent or now - since > _STALLED):
            return max(0, sent - received)
        if now > deadline:
            raise TimeoutError(f"{sent - received} of {sent} messages are not delivered, or acknowledgements missing")
        await asyncio.sleep(_LOOK)


def _result(pairs: Sequence[Pair], total: int, clock: Clock, since: Counts, missing: int) -> Result:
    if since.refused:
        raise RuntimeError(f"{since.refused} messages were refused: this is no measurement")
    acked = [one for pair in pairs for one in pair.writer.latencies]
    delivered = [one for pair in pairs for one in pair.reader.delays]
    elapsed = clock.elapsed - (_STALLED if missing else 0.0)
    return Result(
        *(total, elapsed, quantiles(acked), quantiles(delivered), clock.cpu, clock.others),
        *(missing, since.dropped),
    )


def quantiles(values: Sequence[float]) -> Times:
    """p50 and p99."""
    return percentile(values, 0.5), percentile(values, 0.99)


# ---- messages


def messages(number: int, chats: Sequence[str]) -> Callable[[], tuple[bytes, bytes]]:
    """New messages of 1 KiB of writer `number`, in turn for each of the chats, each with an id (UUIDv7) and a stamp of its own."""
    who = writer(number)
    return sender(who, chats, f"-7{number:03x}-8{secrets.token_hex(2)[:3]}-")


def sender(who: str, chats: Sequence[str], middle: str) -> Callable[[], tuple[bytes, bytes]]:
    """The same of anybody; `middle` is the part of the id that tells senders apart."""
    topics = [f"chats/{chat}/send/{who}" for chat in chats]
    filler = "가나다라 " * 60
    count = 0

    def make() -> tuple[bytes, bytes]:
        nonlocal count
        count += 1
        made = f"{time.time_ns() // 1_000_000:012x}"
        head = f'{{"id":"{made[:8]}-{made[8:]}{middle}{count:012x}","type":"message","body":{{"text":"@'
        body = f"{head}{time.perf_counter():018.6f} {filler}".encode()
        payload = body + b"." * (SIZE - len(body) - 3) + b'"}}'
        return publish_parts(topics[count % len(topics)], payload, qos=1, retain=False, version=4)

    return make


def delays(client: LoadClient) -> Callable[[bytes, int, int], None]:
    """Reads the stamp that the writer put at the head of the text."""

    def received(data: bytes, body: int, end: int) -> None:
        at = data.find(_MARK, body, end) + len(_MARK)
        client.delays.append(time.perf_counter() - float(data[at : at + _STAMP]))

    return received


# ---- time


class Clock:
    """Wall time, and CPU of the processes, of the load generator (`load`), and of everything else (`others`, in cores)."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = processes
        self.elapsed = self.others = 0.0
        self.cpu: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._before = {name: cpu_seconds(pid) for name, pid in self._processes.items()}
        self._own, self._busy, self._start = time.process_time(), busy_seconds(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed = time.perf_counter() - self._start
        busy, own = busy_seconds() - self._busy, time.process_time() - self._own
        self.cpu = {name: cpu_seconds(pid) - self._before[name] for name, pid in self._processes.items()}
        self.cpu["load"] = own
        self.others = max(0.0, (busy - sum(self.cpu.values())) / self.elapsed)
