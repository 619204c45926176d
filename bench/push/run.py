"""`python -m bench.push`: the worker of a stack as `make up` starts it, pushing to the emulator of FCM.

Messages are stored as the bridge stores them, with marks and a job per batch, so that nothing but pushing is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client import CollectorRegistry
from rich.console import Console

from adapters.jobs import CeleryJobQueue
from adapters.mongo import open_stores
from adapters.stores import Stores
from bench.broker import replaced
from bench.peer_pabal import in_turn
from bench.push.cases import BATCH, CASES, GROUP, PAIRS, TOGETHER, Case, Kind
from bench.push.report import PARTS, Report, Result, markdown
from bench.stats import busy_seconds
from chat.envelopes import Body, Event
from chat.ids import direct_chat_id, new_message_id
from chat.jobs import PUSH_EVENT, PUSH_QUEUE
from chat.models import Chat, ChatKind, Member, PushToken, Role, User
from stack.servers import BinaryMissing
from stack.settings import StackSettings
from stack.testing import RunningStack

HERE = Path(__file__).parent.parent
BEGIN, END = "<!-- bench-push: written by make bench-push ARGS=--save -->", "<!-- bench-push: end -->"
PATIENCE = 120.0
"""Seconds after which pushes that have not come are missing."""
LARGE = "g-bench-large"
WARM_UP = 100


def compare(cases: Mapping[str, Case], *, rounds: int, console: Console) -> Report:
    """Measure them all, `rounds` times; a stack for each number of pool processes.

    Raises:
        BinaryMissing: mongod or Valkey are not there.
    """
    report = Report()
    for workers in sorted({case.workers for case in cases.values()}):
        env = {"PABAL_LOG_LEVEL": "warning", "PABAL_WORKER_CONCURRENCY": str(workers)}
        with tempfile.TemporaryDirectory(prefix="pabal-bench-") as directory:
            stack = RunningStack.start(Path(directory), env=env)
            try:
                ours = {name: case for name, case in cases.items() if case.workers == workers}
                asyncio.run(_measure_all(stack, ours, rounds, report, console))
            finally:
                stack.stop()
    report.results = {name: report.results[name] for name in cases if name in report.results}
    return report


async def _measure_all(
    stack: RunningStack, cases: Mapping[str, Case], rounds: int, report: Report, console: Console
) -> None:
    stores = await open_stores(stack.info["mongo_url"], StackSettings().mongo_database)
    jobs = CeleryJobQueue(stack.info["valkey_url"], registry=CollectorRegistry())
    async with httpx.AsyncClient(base_url=stack.info["fcm_url"] or "", timeout=60) as emulator:
        try:
            bench = _Bench(stack, stores, jobs, emulator)
            await bench.seed()
            await bench.warm_up()
            for number in range(1, rounds + 1):
                for name, case in cases.items():
                    try:
                        result = await bench.measure(case)
                    except (OSError, RuntimeError) as error:
                        report.failures.append(f"round {number}, {name}: {error}")
                        console.print(f"{name}: {error}", highlight=False)
                        continue
                    report.results.setdefault(name, []).append(result)
                    delays = (
                        ""
                        if result.delays is None
                        else f", p50 {result.delays[0] * 1e3:.0f} ms, p99 {result.delays[1] * 1e3:.0f} ms"
                    )
                    console.print(f"round {number}/{rounds} {name}: {result.rate:,.0f}/s{delays}", highlight=False)
        finally:
            await asyncio.to_thread(jobs.close)
            await stores.close()


class _Bench:
    """One stack with people who are away."""

    def __init__(self, stack: RunningStack, stores: Stores, jobs: CeleryJobQueue, emulator: httpx.AsyncClient) -> None:
        self._stack = stack
        self._stores = stores
        self._jobs = jobs
        self._emulator = emulator
        self._seqs: dict[str, int] = {}
        self._chats = [direct_chat_id("bench-writer", f"bench-p{number}") for number in range(PAIRS)]
        self._next = 0

    async def seed(self) -> None:
        """The writer, their chats of two, and one large group."""
        now = datetime.now(UTC)
        people = [f"bench-p{number}" for number in range(max(PAIRS, GROUP))]
        await in_turn(self._stores.users.add(User(who, who, "!", now)) for who in ["bench-writer", *people])
        await in_turn(self._stores.push_tokens.put(PushToken(f"t-{who}", who, "android", now)) for who in people)
        await in_turn(
            self._stores.chats.create(
                Chat(chat, ChatKind.DIRECT, now, "bench-writer"),
                [Member(chat, who, Role.OWNER, now) for who in ("bench-writer", f"bench-p{number}")],
            )
            for number, chat in enumerate(self._chats)
        )
        group = [Member(LARGE, who, Role.MEMBER, now) for who in ["bench-writer", *people[:GROUP]]]
        await self._stores.chats.create(Chat(LARGE, ChatKind.GROUP, now, "bench-writer", title="산악회"), group)

    async def warm_up(self) -> None:
        """Connections and imports."""
        await self._emulator.delete("/control/messages")
        for _ in range(WARM_UP // TOGETHER):
            await self._send(await self._insert(TOGETHER, Kind.DIRECT))
        await self._await(WARM_UP)

    async def measure(self, case: Case) -> Result:
        """One case.

        Raises:
            RuntimeError: pushes did not come.
        """
        (await self._emulator.delete("/control/messages")).raise_for_status()
        before, busy, began = self._cpu(), busy_seconds(), time.perf_counter()
        own = time.process_time()
        if case.rate:
            expected = await self._at_rate(case)
        else:
            expected = case.messages if case.kind is Kind.DIRECT else GROUP
            batches = [
                await self._insert(min(TOGETHER, case.messages), case.kind)
                for _ in range(-(-case.messages // TOGETHER))
            ]
            before, busy, began, own = self._cpu(), busy_seconds(), time.perf_counter(), time.process_time()
            for batch in batches:
                await self._send(batch)
        await self._await(expected)
        elapsed = time.perf_counter() - began
        cpu = {part: (self._cpu()[part] - before[part]) for part in PARTS}
        load = (time.process_time() - own) / elapsed
        others = max(0.0, (busy_seconds() - busy) / elapsed - sum(cpu.values()) / elapsed - load)
        delays = await self._delays() if case.rate else None
        per_push = {part: seconds / expected for part, seconds in cpu.items()}
        return Result(expected, expected / elapsed, case.workers, delays, per_push, others)

    async def _at_rate(self, case: Case) -> int:
        """Store batch by batch, and send a job for several of them, as the bridge does; the last ones of it wait the least."""
        sent, began, stored = 0, time.perf_counter(), list[Event]()
        while sent < case.rate * case.seconds:
            await asyncio.sleep(max(0.0, began + sent / case.rate - time.perf_counter()))
            stored += await self._insert(BATCH, case.kind)
            sent += BATCH
            if len(stored) >= TOGETHER:
                await self._send(stored)
                stored = []
        await self._send(stored)
        return sent

    async def _send(self, events: Sequence[Event]) -> None:
        if events:
            await self._jobs.enqueue(PUSH_EVENT, *(event.id for event in events), queue=PUSH_QUEUE)

    async def _insert(self, count: int, kind: Kind) -> list[Event]:
        batch = [self._event(kind) for _ in range(count)]
        await self._stores.messages.insert(batch, push=frozenset(event.id for event in batch))
        return batch

    def _event(self, kind: Kind) -> Event:
        chat = LARGE
        if kind is Kind.DIRECT:
            chat = self._chats[self._next % PAIRS]
            self._next += 1
        seq = self._seqs[chat] = self._seqs.get(chat, 0) + 1
        text = Body(text="안녕하세요, 파발입니다")
        return Event("message", new_message_id(), chat, seq, seq, "bench-writer", datetime.now(UTC), body=text)

    async def _await(self, expected: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            verdict: dict[str, int] = (await self._emulator.get("/control/verdict")).raise_for_status().json()
            if verdict["sent"] - verdict["repeated"] >= expected:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {verdict['sent']} of {expected} pushes came")
            await asyncio.sleep(0.05)

    async def _delays(self) -> tuple[float, float]:
        answer: dict[str, Any] = (await self._emulator.get("/control/messages")).raise_for_status().json()
        came = {got["message"]["data"]["id"]: got["at"] for got in answer["messages"]}
        events = await self._stores.messages.by_ids(list(came))
        delays = sorted(came[id_] - event.at.timestamp() for id_, event in events.items())
        return delays[len(delays) // 2], delays[int(len(delays) * 0.99)]

    def _cpu(self) -> dict[str, float]:
        """Seconds of CPU so far, with those of children (a worker's pool)."""
        found = {}
        for name, pid in self._stack.refresh()["processes"].items():
            main = psutil.Process(pid)
            times = [one.cpu_times() for one in (main, *main.children(recursive=True))]
            found[name] = sum(time_.user + time_.system for time_ in times)
        return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write it down; the exit code."""
    options = _parser().parse_args(arguments)
    cases = {name: case for name, case in CASES.items() if not options.only or any(o in name for o in options.only)}
    if options.quick:
        cases = {name: replace(case, seconds=min(case.seconds, 6.0)) for name, case in cases.items()}
    console = Console(stderr=True, soft_wrap=True)
    try:
        report = compare(cases, rounds=options.rounds or (1 if options.quick else 2), console=console)
    except (BinaryMissing, OSError, RuntimeError) as error:
        sys.stderr.write(f"bench-push: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    print(markdown(report))
    directory = HERE / ("results" if options.save else "out")
    directory.mkdir(exist_ok=True)
    (directory / "push.json").write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    if options.save:
        readme = HERE / "README.md"
        readme.write_text(replaced(readme.read_text(), markdown(report), begin=BEGIN, end=END))
    return 1 if report.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.push", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one round of less work: about a minute and a half")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 2, with --quick 1")
    parser.add_argument(
        "--only", action="append", metavar="WORDS", help="cases with these words in their name; repeat it"
    )
    parser.add_argument("--save", action="store_true", help="into bench/results and bench/README.md, not bench/out")
    return parser
