"""`python -m bench.path`: publish, stored with majority, delivered, with everything on; beside the script that one would write otherwise.

A round starts a stack, measures each case on it, ends it, and does the same with the baseline: what stands in one round was measured
within minutes of each other, and no round inherits another's data.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import uvloop
from rich.console import Console

from bench.broker import bar, open_files, replaced
from bench.path.cases import CASES, Case, Group, Messages, System, shortened
from bench.path.chart import draw
from bench.path.group import GroupResult, measure_group
from bench.path.load import Result, measure
from bench.path.report import Report, markdown, servers
from bench.path.systems import Runs, baseline, pabal
from bench.peers import PeerMissing
from stack.servers import BinaryMissing

HERE = Path(__file__).parent.parent
BEGIN, END = "<!-- bench-path: written by make bench-path ARGS=--save -->", "<!-- bench-path: end -->"
_SPARE_FILES = 200
_SYSTEMS: Mapping[System, Callable[[], AbstractContextManager[Runs]]] = {
    System.PABAL: pabal,
    System.NAIVE: baseline,
}

Told = Callable[[str], None]


def compare(cases: Mapping[str, Case], *, rounds: int, tell: Told) -> Report:
    """Measure them all.

    Args:
        tell: hears of each measurement, in a line.

    Raises:
        PeerMissing: Mosquitto is not installed.
        BinaryMissing: mongod or Valkey are not there.
    """
    report = Report(cases)
    for number in range(1, rounds + 1):
        for system, started in _SYSTEMS.items():
            own = {name: case for name, case in cases.items() if case.system is system}
            if not own:
                continue
            with started() as up:
                report.versions[system] = up.version
                for name, case in own.items():
                    _add(report, up, name, case, tell, f"round {number}/{rounds}")
    return report


def _add(report: Report, up: Runs, name: str, case: Case, tell: Told, where: str) -> None:
    start = time.monotonic()
    result: Result | GroupResult | None = None
    try:
        result = _one(up, name, case)
        said = _said(name, result)
        if isinstance(result, Result) and result.lost:
            report.failures.append(f"{where}, {name}: {result.lost} messages were lost")
    except (OSError, RuntimeError) as error:
        # The others took minutes: they stand, and this is told of in the report.
        said = f"{name}: {error}"
        report.failures.append(f"{where}, {said}")
    report.results.setdefault(name, []).append(result)
    tell(f"{where} {said} ({time.monotonic() - start:.0f} s)")


def _one(up: Runs, name: str, case: Case) -> Result | GroupResult:
    with up.ready(name, case) as running:
        if isinstance(case, Group):
            return uvloop.run(measure_group(name, case, running))
        return uvloop.run(measure(name, case, running))


def _said(name: str, result: Result | GroupResult) -> str:
    if isinstance(result, GroupResult):
        return f"{name:<11} {result.last * 1e3:,.0f} ms to all"
    acked, delivered = result.acked[1] * 1e3, result.delivered[1] * 1e3
    counted = f", {result.missing} not delivered" if result.missing else ""
    return (
        f"{name:<11} {result.rate:>7,.0f}/s, p99 {acked:,.0f} and {delivered:,.0f} ms, "
        f"{servers(result):,.0f} µs CPU per message{counted}"
    )


def short(*, seconds: float) -> str:
    """Our throughput at some windows, and latency at a fixed rate; Markdown."""
    names = ("window1", "window20", "window50", "rate2000")
    cases = {name: replace(case, seconds=seconds) for name in names if isinstance(case := CASES[name], Messages)}
    return markdown(compare(cases, rounds=1, tell=lambda _: None))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write them down; the exit code."""
    options = _parser().parse_args(arguments)
    cases = {name: case for name, case in CASES.items() if not options.only or name in options.only}
    if options.quick:
        cases = {name: shortened(case) for name, case in cases.items()}
    rounds = options.rounds or (1 if options.quick else 2)
    console = Console(stderr=True)
    try:
        open_files(max(case.online if isinstance(case, Group) else 0 for case in cases.values()) + _SPARE_FILES)
        with bar(console) as progress:
            task = progress.add_task("measuring", total=rounds * len(cases))

            def tell(line: str) -> None:
                console.print(line, highlight=False, soft_wrap=True)
                progress.advance(task)

            report = compare(cases, rounds=rounds, tell=tell)
    except (PeerMissing, BinaryMissing, OSError, RuntimeError) as error:
        sys.stderr.write(f"bench-path: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    print(markdown(report))
    for file in write(report, HERE / "results" if options.save else HERE / "out"):
        console.print(f"wrote {file}", highlight=False)
    if options.save:
        readme = HERE / "README.md"
        readme.write_text(replaced(readme.read_text(), markdown(report), begin=BEGIN, end=END))
    return 1 if report.failures else 0


def write(report: Report, directory: Path) -> list[Path]:
    """Raw figures, tables and picture."""
    directory.mkdir(exist_ok=True)
    contents = {
        "path.json": json.dumps(report.as_json(), indent=1, ensure_ascii=False) + "\n",
        "path.svg": draw(report),
    }
    for name, text in contents.items():
        (directory / name).write_text(text)
    return [directory / name for name in contents]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.path", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one round of less work: about two minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 2, with --quick 1")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(CASES),
        metavar="NAME",
        help=f"one of {', '.join(CASES)}; repeat it",
    )
    parser.add_argument("--save", action="store_true", help="into bench/results and bench/README.md, not bench/out")
    return parser
