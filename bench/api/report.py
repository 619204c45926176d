"""What was measured of the API: medians over rounds, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.api.cases import Case, verdict
from bench.report import DISTURBED, NOTHING, machine

PARTS = ("api", "mongod", "valkey", "broker", "bridge")


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. Times are seconds from the moment that a request was due, `cpu` and `load` are cores.

    Attributes:
        size: bytes of one answer with its head.
        cpu: of each process of the stack.
        load: of the load generator.
        others: of everything else on the machine.
    """

    rate: float
    p50: float
    p99: float
    most: float
    size: float
    cpu: dict[str, float]
    load: float
    others: float


@dataclass(slots=True)
class Report:
    """All measurements: per case one per round that went well, and what failed."""

    cases: Sequence[Case]
    results: dict[str, list[Result]] = field(default_factory=dict)  # by name of the case
    failures: list[str] = field(default_factory=list)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "machine": machine(),
            "failures": self.failures,
            "results": {name: [dataclasses.asdict(one) for one in rounds] for name, rounds in self.results.items()},
        }


def markdown(report: Report) -> str:
    """A table with a row per case."""
    rounds = max(map(len, report.results.values()), default=0)
    lines = [f"{report.at:%Y-%m-%d}, {machine()}; {rounds} round(s), medians.", ""]
    others = [one.others for results in report.results.values() for one in results]
    if others:
        median = statistics.median(others)
        lines.append(f"- Everything else on the machine took {median:.2f} cores (median), {max(others):.2f} at most.")
        if median > DISTURBED:
            lines.append("- **The machine was busy: times are upper bounds.**")
    lines += [*(f"- Failed: {failure}." for failure in report.failures), ""]
    heads = (
        "",
        "requests/s",
        "answers/s",
        "p50 ms",
        "p99 ms",
        "must, aim",
        "verdict",
        "KiB",
        *(f"{part}, ms" for part in PARTS),
        "load, cores",
    )
    lines += [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += [_row(case, report.results[case.name]) for case in report.cases if case.name in report.results]
    lines += [
        "",
        "*must, aim*: milliseconds for 99 %, of the design. The columns with names of processes: CPU per request.",
    ]
    return "\n".join(lines)


def _row(case: Case, results: Sequence[Result]) -> str:
    def median(figure: Callable[[Result], float]) -> float:
        return statistics.median(map(figure, results))

    def part(name: str) -> float:
        return median(lambda one: sum(cpu for key, cpu in one.cpu.items() if key.startswith(name)) / one.rate)

    rate, p99, limits = median(lambda one: one.rate), median(lambda one: one.p99), case.limits
    names = [NAMES.get(name, name) for name in PARTS]
    cells = (
        case.route.value,
        f"{case.rate:,}",
        f"{rate:,.0f}",
        f"{median(lambda one: one.p50) * 1e3:,.1f}",
        f"{p99 * 1e3:,.1f}",
        NOTHING if limits is None else f"{limits.must:g}, {limits.aim:g}",
        verdict(case, rate=rate, p99=p99),
        f"{median(lambda one: one.size) / 1024:,.1f}",
        *(f"{part(name) * 1e3:,.2f}" for name in names),
        f"{median(lambda one: one.load):.2f}",
    )
    return f"| {' | '.join(cells)} |"


NAMES = {"mongod": "mongo"}
"""Processes that the stack calls otherwise; there may be several of one kind."""
