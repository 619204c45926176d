"""The whole path on a real stack: publish, stored with majority, delivered. Everything is on: login, rights, filters, receipts."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.client import LoadClient
from bench.stats import Row, cpu_seconds, percentile, table
from mqtt.codec import publish_parts

PAIRS = 8
CHATS = 40
SIZE = 1024
UP_SECONDS = 60.0
_TEXT = b'"text":"'


@dataclass(frozen=True, slots=True)
class Pair:
    """One who writes and one who reads, in some chats together."""

    writer: LoadClient
    reader: LoadClient
    name: str
    chats: list[str]


@asynccontextmanager
async def running_stack() -> AsyncIterator[dict[str, Any]]:
    """`pabal up` on a state of its own: what its stack.json says."""
    with tempfile.TemporaryDirectory(prefix="pabal-bench-") as state:
        base = _free_base()
        command = [sys.executable, "-m", "stack", "up", "--state", state, "--port-base", str(base)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - once, before the clock runs
        try:
            yield await _healthy(state, process)
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 60)


def _free_base() -> int:
    """A base with nine free ports behind it, as far as one can know."""
    while True:
        base = secrets.randbelow(9_000) + 21_000
        try:
            for port in range(base, base + 9):
                with socket.create_server(("127.0.0.1", port)):
                    pass
        except OSError:
            continue
        return base


async def _healthy(state: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + UP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if os.path.exists(f"{state}/stack.json"):  # noqa: ASYNC240, PTH110 - a look at a local file
            found: dict[str, Any] = json.loads(await asyncio.to_thread(Path(state, "stack.json").read_bytes))
            return found
        await asyncio.sleep(0.1)
    raise TimeoutError("the stack did not come up")


async def people(info: dict[str, Any]) -> list[Pair]:
    """Register pairs of users, give them chats, and connect them."""
    async with httpx.AsyncClient(base_url=info["api"], timeout=30) as http:
        return [await _pair(http, info, CHATS // PAIRS) for _ in range(PAIRS)]


async def _pair(http: httpx.AsyncClient, info: dict[str, Any], chats: int) -> Pair:
    names = [f"bench-{secrets.token_hex(5)}" for _ in range(2)]
    tokens = [await _account(http, name) for name in names]
    found = []
    for number in range(chats):
        answer = await http.post(
            "/v1/chats",
            json={"kind": "group", "title": f"방 {number}", "members": [names[1]]},
            headers={"Authorization": f"Bearer {tokens[0]}"},
        )
        found.append(answer.raise_for_status().json()["id"])
    clients = [
        LoadClient(name, username=name, password=token.encode()) for name, token in zip(names, tokens, strict=True)
    ]
    for client in clients:
        await client.open(info["mqtt_host"], info["mqtt_port"])
    await clients[1].subscribe(*(f"chats/{chat}/messages" for chat in found))
    for client in clients:
        client.start()
    clients[1].on_receive = _delays(clients[1])
    return Pair(clients[0], clients[1], names[0], found)


async def _account(http: httpx.AsyncClient, name: str) -> str:
    password = secrets.token_urlsafe(16)
    fields = {"handle": name, "password": password, "display_name": name}
    (await http.post("/v1/auth/register", json=fields)).raise_for_status()
    form = {"grant_type": "password", "username": name, "password": password}
    return str((await http.post("/v1/auth/token", data=form)).raise_for_status().json()["access_token"])


def _delays(client: LoadClient) -> Callable[[bytes, int, int], None]:
    """Read the stamp that the writer put at the head of the text."""

    def received(data: bytes, body: int, end: int) -> None:
        at = data.find(_TEXT, body, end) + len(_TEXT)
        client.delays.append(time.perf_counter() - float(data[at : at + 18]))

    return received


def messages(pair: Pair) -> Callable[[], tuple[bytes, bytes]]:
    """New messages of 1 KiB, in turn for each of the pair's chats, each with an id (UUIDv7) and a stamp of its own."""
    suffix = f"-7000-8{secrets.token_hex(2)[:3]}-"
    topics = [f"chats/{chat}/send/{pair.name}" for chat in pair.chats]
    filler = "가나다라 " * 60
    number = 0

    def make() -> tuple[bytes, bytes]:
        nonlocal number
        number += 1
        text = f"{time.perf_counter():018.6f} {filler}"
        made = f"{time.time_ns() // 1_000_000:012x}"
        payload = f'{{"id":"{made[:8]}-{made[8:]}{suffix}{number:012x}","type":"message","body":{{"text":"{text}"}}}}'.encode()
        payload = payload[: -len(b'"}}')] + b"." * (SIZE - len(payload)) + b'"}}'
        return publish_parts(topics[number % len(topics)], payload, qos=1, retain=False, version=4)

    return make


async def throughput(info: dict[str, Any], pairs: list[Pair], *, count: int, window: int) -> list[Row]:
    """As fast as the windows allow; rows for acknowledgement and delivery."""
    cpu = _Cpu(info)
    start = time.perf_counter()
    for pair in pairs:
        pair.writer.publish(count, window, messages(pair))
    await asyncio.gather(*(pair.writer.done for pair in pairs))
    elapsed = await _all_received(pairs, count * len(pairs), start)
    return _rows(f"window {window}", pairs, count * len(pairs), elapsed, cpu)


async def steady(info: dict[str, Any], pairs: list[Pair], *, rate: int, seconds: float) -> list[Row]:
    """At a fixed rate, whatever is unanswered."""
    makers = [(pair.writer, messages(pair)) for pair in pairs]
    total = int(rate * seconds)
    cpu = _Cpu(info)
    start = time.perf_counter()
    for number in range(total):
        writer, make = makers[number % len(makers)]
        ahead = start + number / rate - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        writer.publish_now(make())
    elapsed = await _all_received(pairs, total, start)
    return _rows(f"{rate:,}/s", pairs, total, elapsed, cpu)


async def _all_received(pairs: list[Pair], total: int, start: float) -> float:
    while sum(pair.reader.received for pair in pairs) < total:
        if time.perf_counter() - start > 180:
            raise TimeoutError("messages are missing")
        await asyncio.sleep(0.005)
    return time.perf_counter() - start


class _Cpu:
    """CPU of the stack's processes and of the load generator, from when it was made."""

    def __init__(self, info: dict[str, Any]) -> None:
        self._pids: dict[str, int] = info["processes"]
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}
        self._own = time.process_time()

    def used(self) -> dict[str, float]:
        """Seconds per process since then."""
        now = {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}
        return {**now, "load": time.process_time() - self._own}


def _rows(name: str, pairs: list[Pair], total: int, elapsed: float, cpu: _Cpu) -> list[Row]:
    used = cpu.used()
    load = used.pop("load") / elapsed
    server = sum(used.values()) / elapsed
    share = ", ".join(f"{part} {seconds / elapsed:.2f}" for part, seconds in used.items() if seconds / elapsed > 0.02)
    rows = []
    for kind, values in (
        ("stored", [one for pair in pairs for one in pair.writer.latencies]),
        ("delivered", [one for pair in pairs for one in pair.reader.delays]),
    ):
        p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
        label = f"{name}: publish to {kind}" + (f" ({share})" if kind == "stored" else "")
        rows.append(Row(label, total / elapsed, p50, p99, server, load))
    refused = sum(pair.writer.refused for pair in pairs)
    if refused:
        raise RuntimeError(f"{refused} messages were refused: this is no measurement")
    return rows


async def report(*, count: int, windows: tuple[int, ...], rate: int, seconds: float) -> str:
    """Throughput at some windows and latency at a fixed rate; a Markdown table."""
    rows: list[Row] = []
    # The load generator's own garbage collections (25 ms) would be measured as the path's latency.
    gc.collect()
    gc.freeze()
    async with running_stack() as info:
        for window in windows:
            pairs = await people(info)
            rows += await throughput(info, pairs, count=count, window=window)
            _close(pairs)
        pairs = await people(info)
        rows += await steady(info, pairs, rate=rate, seconds=seconds)
        _close(pairs)
    title = f"Whole path: {PAIRS} writers, {PAIRS} readers, {CHATS} chats, 1 KiB, stored with majority"
    return table(title, rows, latency="latency")


def _close(pairs: list[Pair]) -> None:
    for pair in pairs:
        pair.writer.close()
        pair.reader.close()
