"""What was measured of pushes, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench.report import DISTURBED, machine

PARTS = ("worker", "fcm", "mongod", "valkey")


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. Seconds; `cpu` is seconds of CPU per push, by process.

    Attributes:
        rate: pushes per second, from the first job to the last push.
        delays: from `created_at` of a message until its push was at the provider: p50, p99; None where all were stored beforehand.
        others: cores that everything else on the machine took.
    """

    pushes: int
    rate: float
    workers: int
    delays: tuple[float, float] | None
    cpu: dict[str, float]
    others: float


@dataclass(slots=True)
class Report:
    """All measurements: per case one per round that went well, and what failed."""

    results: dict[str, list[Result]] = field(default_factory=dict)
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
            lines.append("- **The machine was busy: rates are lower bounds, delays upper ones.**")
    lines += [*(f"- Failed: {failure}." for failure in report.failures), ""]
    heads = ("", "pushes", "pushes/s", "per process", "p50, p99 ms", *(f"{part}, ms" for part in PARTS))
    lines += [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += [_row(name, results) for name, results in report.results.items()]
    lines += [
        "",
        "The columns with names of processes: CPU per push; `fcm` is the emulator, which answers on the same cores.",
    ]
    return "\n".join(lines)


def _row(name: str, results: Sequence[Result]) -> str:
    rate = statistics.median(one.rate for one in results)
    delays = [one.delays for one in results if one.delays is not None]
    told = "-"
    if delays:
        p50, p99 = (statistics.median(column) * 1e3 for column in zip(*delays, strict=True))
        told = f"{p50:.0f}, {p99:.0f}"
    cells = [
        name,
        f"{results[0].pushes:,}",
        f"{rate:,.0f}",
        f"{rate / results[0].workers:,.0f}",
        told,
        *(f"{statistics.median(one.cpu[part] for one in results) * 1e3:.2f}" for part in PARTS),
    ]
    return f"| {' | '.join(cells)} |"
