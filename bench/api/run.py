"""`python -m bench.api`: requests at fixed rates against a stack as `make up` starts it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from rich.console import Console

from adapters.mongo import open_stores
from adapters.tokens import TokenIssuer
from adapters.valkey import connect
from bench.api.cases import CASES, WARM_UP, Case, Route, keeps_up, verdict
from bench.api.load import Load
from bench.api.report import Report, Result, markdown
from bench.api.seed import World, seed
from bench.broker import replaced
from bench.stats import busy_seconds, cpu_seconds
from stack.servers import BinaryMissing
from stack.settings import StackSettings
from stack.testing import RunningStack

HERE = Path(__file__).parent.parent
BEGIN, END = "<!-- bench-api: written by make bench-api ARGS=--save -->", "<!-- bench-api: end -->"
_OUR_ENVIRONMENT = {
    "PABAL_LOG_LEVEL": "warning",
    # All requests come from one address, and some from one person.
    "PABAL_LOGIN_HANDLE_RATE": "10000",
    "PABAL_LOGIN_HANDLE_BURST": "10000",
    "PABAL_LOGIN_ADDRESS_RATE": "10000",
    "PABAL_LOGIN_ADDRESS_BURST": "10000",
    "PABAL_API_RATE": "100000",
    "PABAL_API_BURST": "100000",
}
_LIFETIME = timedelta(hours=6)


def compare(cases: Sequence[Case], *, rounds: int, console: Console) -> Report:
    """Measure them all, `rounds` times.

    Raises:
        BinaryMissing: mongod or Valkey are not there.
    """
    with tempfile.TemporaryDirectory(prefix="pabal-bench-") as directory:
        stack = RunningStack.start(Path(directory), env=_OUR_ENVIRONMENT)
        try:
            world = asyncio.run(_seed(stack))
            return rising(cases, lambda case: uvloop.run(_measure(stack, world, case)), rounds=rounds, console=console)
        finally:
            stack.stop()


def rising(cases: Sequence[Case], measure: Callable[[Case], Result], *, rounds: int, console: Console) -> Report:
    """Measure them all, `rounds` times, and of each route no rates beyond the first that it does not keep up with in a round.

    Args:
        cases: the rates of a route rise.
        measure: one case; raises RuntimeError or OSError when an answer is missing or wrong, which is a failure of the run.
    """
    report = Report(cases)
    for number in range(1, rounds + 1):
        given_out: set[Route] = set()
        for case in cases:
            if case.route in given_out:
                continue
            try:
                result = measure(case)
            except (OSError, RuntimeError) as error:
                given_out.add(case.route)
                report.failures.append(f"round {number}, {case.name}: {error}")
                console.print(f"{case.name}: {error}", highlight=False)
                continue
            report.results.setdefault(case.name, []).append(result)
            if not keeps_up(case, result.rate):
                given_out.add(case.route)
            console.print(
                f"round {number}/{rounds} {case.name:<10} {_said(case, result)}", highlight=False, soft_wrap=True
            )
    return report


def _said(case: Case, result: Result) -> str:
    judged = verdict(case, rate=result.rate, p99=result.p99).strip("*")
    times = f"p50 {result.p50 * 1e3:.1f} ms, p99 {result.p99 * 1e3:.1f} ms"
    return f"{times}, api {result.cpu['api'] / result.rate * 1e3:.2f} ms of CPU per request: {judged}"


async def _seed(stack: RunningStack) -> World:
    stores = await open_stores(stack.info["mongo_url"], StackSettings().mongo_database)
    issuer = TokenIssuer(stack.state.directory("keys"), ttl=int(_LIFETIME.total_seconds()))
    who = stack.credentials["users"][0]
    try:
        return await seed(stores, issuer, login=who["handle"], password=who["password"])
    finally:
        await stores.close()


async def _measure(stack: RunningStack, world: World, case: Case) -> Result:
    where = urlsplit(stack.info["api"])
    host, port = where.hostname or "127.0.0.1", where.port or 80
    expect = 201 if case.route is Route.SEND else 200
    async with _emptied(stack, case):
        await Load(host, port).run(world.requests(case.route), rate=case.rate, seconds=WARM_UP, expect=expect)
        pids = stack.refresh()["processes"]
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        own, busy, began = time.process_time(), busy_seconds(), time.perf_counter()
        tally = await Load(host, port).run(
            world.requests(case.route), rate=case.rate, seconds=case.seconds, expect=expect
        )
        elapsed = time.perf_counter() - began
    cpu = {name: (cpu_seconds(pid) - before[name]) / elapsed for name, pid in pids.items()}
    load = (time.process_time() - own) / elapsed
    others = max(0.0, (busy_seconds() - busy) / elapsed - load - sum(cpu.values()))
    return Result(
        rate=len(tally.times) / elapsed,
        p50=tally.at(0.5),
        p99=tally.at(0.99),
        most=max(tally.times),
        size=tally.size / len(tally.times),
        cpu=cpu,
        load=load,
        others=others,
    )


@asynccontextmanager
async def _emptied(stack: RunningStack, case: Case) -> AsyncIterator[None]:
    """Where the case wants it, Valkey forgets its copies of events all the time."""
    if case.route is not Route.COLD:
        yield
        return
    valkey = connect(stack.info["valkey_url"])

    async def forget() -> None:
        while True:
            names = [key async for key in valkey.scan_iter("recent:*", count=1000)]
            if names:
                await valkey.unlink(*names)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(forget())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await valkey.aclose()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write it down; the exit code."""
    options = _parser().parse_args(arguments)
    cases = [case for case in CASES if not options.only or case.route.name.lower() in options.only]
    if options.quick:
        cases = [replace(case, seconds=3.0) for case in cases]
    console = Console(stderr=True)
    try:
        report = compare(cases, rounds=options.rounds or (1 if options.quick else 2), console=console)
    except (BinaryMissing, OSError, RuntimeError) as error:
        sys.stderr.write(f"bench-api: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    print(markdown(report))
    directory = HERE / ("results" if options.save else "out")
    directory.mkdir(exist_ok=True)
    (directory / "api.json").write_text(json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n")
    if options.save:
        readme = HERE / "README.md"
        readme.write_text(replaced(readme.read_text(), markdown(report), begin=BEGIN, end=END))
    return 1 if report.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.api", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one round of less work: about three minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 2, with --quick 1")
    routes = [route.name.lower() for route in Route]
    parser.add_argument(
        "--only", action="append", choices=routes, metavar="ROUTE", help=f"one of {', '.join(routes)}; repeat it"
    )
    parser.add_argument("--save", action="store_true", help="into bench/results and bench/README.md, not bench/out")
    return parser
