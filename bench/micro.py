"""The broker's engine alone, without sockets: processor time per message, in one process.

    python -m bench.micro                     every scenario, microseconds per message
    python -m bench.micro fan-out --profile   one of them under cProfile
    python -m bench.micro --against ../other  beside the engine of another checkout, in turn: the ratio

The transports take bytes and forget them, so that what is measured is ours: framing, decoding, routing, sessions, encoding. Rounds
of both checkouts alternate and the ratio is the median of the pairs: a machine that is busy with something else slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import logging
import pstats
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from ssl import SSLObject
from typing import Any, NamedTuple

import structlog
import uvloop

from broker.broker import Broker
from broker.limits import DEFAULTS
from broker.policy import Identity, Login, OpenPolicy
from mqtt.codec import V5, V311, encode, publish_parts
from mqtt.packets import Connect, Filter, Subscribe
from mqtt.wire import PACKET_IDS

WINDOW = 20
"""Publishes in one read."""
CLIENTS = 20
RECEIVERS = 500
PAYLOAD = b"x" * 1024


class Round(NamedTuple):
    """What came out of one: deliveries, and seconds of processor time without the set-up."""

    delivered: int
    seconds: float


class _Policy(OpenPolicy):
    """Everybody may everything; `svc-…` are services."""

    async def login(self, login: Login) -> Identity:
        return Identity(login.client_id, service=login.client_id.startswith("svc-"), announce=False)


class _Client:
    """One client of the engine: a transport that keeps what was written until it is asked for."""

    peer = "micro:0"
    certificate: str | None = None
    tls: SSLObject | None = None
    unsent = 0

    def __init__(self, broker: Broker, client_id: str, version: int) -> None:
        self.written: list[bytes] = []
        self.version = version
        self.connection = broker.connect(self)
        self.send(encode(Connect(client_id, version, True, 0, username=client_id), version))

    def send(self, data: bytes) -> None:
        """Bytes to the broker."""
        self.connection.data_received(data)

    def subscribe(self, *filters: str, qos: int = 1) -> None:
        """Subscribe."""
        self.send(encode(Subscribe(1, [Filter(text, qos) for text in filters]), self.version))

    def write(self, data: bytes) -> None:
        """Bytes from the broker."""
        self.written.append(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        """The same, in pieces."""
        self.written.extend(parts)

    def close(self) -> None:
        """Nothing to close."""

    abort = close

    def pause(self) -> None:
        """Nothing to pause."""

    def resume(self) -> None:
        """Nothing to resume."""


async def _clients(broker: Broker, name: str, count: int, version: int) -> list[_Client]:
    clients = [_Client(broker, f"{name}{number}", version) for number in range(count)]
    await asyncio.sleep(0.01)  # each login is a task of a few turns
    return clients


def _publishes(topic: str, qos: int, version: int, count: int = WINDOW) -> bytes:
    head, tail = publish_parts(topic, PAYLOAD, qos, False, version)
    return b"".join(head + (PACKET_IDS[number + 1] if qos else b"") + tail for number in range(count))


def _pubacks(first: int, count: int) -> bytes:
    """So many PUBACKs, as a client sends them that got packet ids in a row; `first` counts all that it ever got."""
    return b"".join(b"\x40\x02" + PACKET_IDS[(first + number) % 65_535 + 1] for number in range(count))


async def _pairs(turns: int, *, version: int = V311, qos: int = 1, others: int = 0) -> Round:
    """20 publishers to 20 subscribers, each pair on a topic of its own; `others` more filters are present."""
    broker = Broker(_Policy(), limits=DEFAULTS)
    subscribers = await _clients(broker, "s", CLIENTS, version)
    publishers = await _clients(broker, "p", CLIENTS, version)
    for number, subscriber in enumerate(subscribers):
        subscriber.subscribe(f"bench/{number}/messages", qos=qos)
        subscriber.subscribe(*(f"other/{number}/{other}/+" for other in range(others // CLIENTS)), f"own/{number}")
    batches = [_publishes(f"bench/{number}/messages", qos, version) for number in range(CLIENTS)]
    start = time.process_time()
    for turn in range(turns):
        for publisher, batch in zip(publishers, batches, strict=True):
            publisher.send(batch)
        await asyncio.sleep(0)
        acks = _pubacks(turn * WINDOW, WINDOW)
        for subscriber in subscribers:
            subscriber.written.clear()
            if qos:
                subscriber.send(acks)
        for publisher in publishers:
            publisher.written.clear()
        await asyncio.sleep(0)
    return Round(broker.core.stats.delivered, time.process_time() - start)


async def _fan_out(turns: int, *, version: int = V311) -> Round:
    """One publisher to 500 subscribers, QoS 1."""
    broker = Broker(_Policy(), limits=DEFAULTS)
    subscribers = await _clients(broker, "s", RECEIVERS, version)
    (publisher,) = await _clients(broker, "p", 1, version)
    for subscriber in subscribers:
        subscriber.subscribe("bench/messages")
    batch = _publishes("bench/messages", 1, version)
    start = time.process_time()
    for turn in range(turns):
        publisher.send(batch)
        await asyncio.sleep(0)
        acks = _pubacks(turn * WINDOW, WINDOW)
        for subscriber in subscribers:
            subscriber.written.clear()
            subscriber.send(acks)
        publisher.written.clear()
        await asyncio.sleep(0)
    return Round(broker.core.stats.delivered, time.process_time() - start)


async def ingest(turns: int, **arguments: Any) -> Round:
    """20 publishers to one bridge, which answers for them all: the broker's half of acknowledgement after store.

    Args:
        arguments: more for the broker.
    """
    broker = Broker(_Policy(), limits=DEFAULTS, ingest_filters=("chats/+/send/+",), **arguments)
    (bridge,) = await _clients(broker, "svc-bridge", 1, V5)
    publishers = await _clients(broker, "p", CLIENTS, V311)
    bridge.subscribe("$share/bridge/chats/+/send/+")
    batches = [_publishes(f"chats/c{number}/send/p{number}", 1, V311) for number in range(CLIENTS)]
    start = time.process_time()
    for turn in range(turns):
        for publisher, batch in zip(publishers, batches, strict=True):
            publisher.send(batch)
        await asyncio.sleep(0)
        bridge.written.clear()
        bridge.send(_pubacks(turn * WINDOW * CLIENTS, WINDOW * CLIENTS))
        await asyncio.sleep(0)
        for publisher in publishers:
            publisher.written.clear()
    return Round(broker.core.stats.delivered, time.process_time() - start)


SCENARIOS: dict[str, tuple[Callable[[int], Round], int]] = {
    "pairs": (lambda turns: uvloop.run(_pairs(turns)), 300),
    "pairs-v5": (lambda turns: uvloop.run(_pairs(turns, version=V5)), 300),
    "pairs-qos0": (lambda turns: uvloop.run(_pairs(turns, qos=0)), 300),
    "pairs-10000": (lambda turns: uvloop.run(_pairs(turns, others=10_000)), 300),
    "fan-out": (lambda turns: uvloop.run(_fan_out(turns)), 12),
    "fan-out-v5": (lambda turns: uvloop.run(_fan_out(turns, version=V5)), 12),
    "ingest": (lambda turns: uvloop.run(ingest(turns)), 100),
}
"""By name: what to run, and how many turns of it make a round of about half a second."""


def measure(name: str, turns: int | None = None) -> float:
    """Microseconds of processor time per delivered message in one round."""
    run, usual = SCENARIOS[name]
    delivered, seconds = run(turns or usual)
    return seconds / delivered * 1e6


class _Worker:
    """A process that measures on demand, with the engine of some checkout."""

    def __init__(self, checkout: Path) -> None:
        script = "import runpy, sys; sys.path.insert(0, '.'); runpy.run_path(sys.argv[1], run_name='__main__')"
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, str(Path(__file__).resolve()), "--serve"],
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, name: str) -> float:
        """One round."""
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None  # noqa: S101
        self._process.stdin.close()
        self._process.wait()


def _compare(names: list[str], other: Path, rounds: int) -> None:
    ours, theirs = _Worker(Path(__file__).resolve().parent.parent), _Worker(other)
    for name in names:
        ours.measure(name), theirs.measure(name)  # warms caches up
        pairs = [(theirs.measure(name), ours.measure(name)) for _ in range(rounds)]
        before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(before / after for before, after in pairs)
        print(f"{name:12} {before:6.2f} -> {after:6.2f} us per message, {ratio:.3f} times as fast", flush=True)
    ours.close()
    theirs.close()


def _serve() -> None:
    for line in sys.stdin:
        print(measure(line.strip()), flush=True)


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m bench.micro", description="The broker's engine without sockets.")
    options.add_argument("scenario", nargs="*", help=f"of {', '.join(SCENARIOS)}; all when none is named")
    options.add_argument("--against", type=Path, help="another checkout to compare with")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--profile", action="store_true")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    names = chosen.scenario or list(SCENARIOS)
    if chosen.serve:
        _serve()
    elif chosen.against:
        _compare(names, chosen.against, chosen.rounds)
    elif chosen.profile:
        with cProfile.Profile() as profile:
            for name in names:
                measure(name)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    else:
        for name in names:
            best = min(measure(name) for _ in range(chosen.rounds))
            print(f"{name:12} {best:6.2f} us per message", flush=True)


if __name__ == "__main__":
    main()
