"""The broker beside Mosquitto on the same work in the same run: pairs of publisher and subscriber, QoS 1, a window."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from bench.client import LoadClient, fixed
from bench.peers import mosquitto, ours
from bench.stats import Row, cpu_seconds, percentile, table

Peer = Callable[[], AbstractAsyncContextManager[tuple[int, int]]]
PEERS: dict[str, Peer] = {"Pabal": ours, "Mosquitto": mosquitto}


async def pairs(name: str, peer: Peer, *, count: int, clients: int = 20, window: int = 20, size: int = 1024) -> Row:
    """`clients` publishers to `clients` subscribers, each pair on a topic of its own.

    Args:
        name: of the row.
        peer: the broker.
        count: messages per publisher.
        clients: pairs.
        window: unanswered publishes per publisher.
        size: bytes of payload.
    """
    async with peer() as (port, pid):
        subscribers = [LoadClient(f"s{number}") for number in range(clients)]
        publishers = [LoadClient(f"p{number}") for number in range(clients)]
        for number, subscriber in enumerate(subscribers):
            await subscriber.open("127.0.0.1", port)
            await subscriber.subscribe(f"bench/{number}/messages")
            subscriber.start()
        for publisher in publishers:
            await publisher.open("127.0.0.1", port)
            publisher.start()
        before, own, start = cpu_seconds(pid), time.process_time(), time.perf_counter()
        for number, publisher in enumerate(publishers):
            publisher.publish(count, window, fixed(f"bench/{number}/messages", os.urandom(size), version=4))
        await asyncio.gather(*(publisher.done for publisher in publishers))
        total = count * clients
        while sum(subscriber.received for subscriber in subscribers) < total:
            await asyncio.sleep(0.005)
            if time.perf_counter() - start > 120:
                raise TimeoutError(f"{name}: messages are missing")
        elapsed = time.perf_counter() - start
        latencies = [one for publisher in publishers for one in publisher.latencies]
        row = Row(
            name,
            total / elapsed,
            percentile(latencies, 0.5),
            percentile(latencies, 0.99),
            (cpu_seconds(pid) - before) / elapsed,
            (time.process_time() - own) / elapsed,
        )
        for client in (*subscribers, *publishers):
            client.close()
        return row


async def compare(*, rounds: int, count: int) -> str:
    """Both brokers in turn, several rounds, the median round of each; a Markdown table."""
    found: dict[str, list[Row]] = {name: [] for name in PEERS}
    for _ in range(rounds):
        for name, peer in PEERS.items():
            found[name].append(await pairs(name, peer, count=count))
    rows = [sorted(each, key=lambda row: row.rate)[len(each) // 2] for each in found.values()]
    title = f"Broker: QoS 1, 20 publishers to 20 subscribers, 1 KiB, window 20 (median of {rounds} rounds)"
    return table(title, rows, latency="publish to PUBACK", base="Mosquitto")
