"""What was measured of the whole path: medians over rounds, as Markdown and as JSON."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from bench.path.cases import CHATS, PAIRS, Case, Messages, System
from bench.path.group import GroupResult
from bench.path.load import Result, Times
from bench.report import DISTURBED, NOTHING, machine

PARTS = ("broker", "bridge", "mongod", "the rest")
"""Who uses CPU, of the servers."""
BASELINE, LIKE_BASELINE = "naive", "window20"
_T = TypeVar("_T", Result, GroupResult)


@dataclass(slots=True)
class Report:
    """All measurements.

    Attributes:
        cases: what was measured.
        versions: per system.
        results: per case, one result per round; None where it failed.
        failures: what failed, a sentence each.
    """

    cases: Mapping[str, Case]
    versions: dict[str, str] = field(default_factory=dict)
    results: dict[str, list[Result | GroupResult | None]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def rounds(self) -> int:
        """The most that any case had."""
        return max(map(len, self.results.values()), default=0)

    def messages(self, name: str) -> list[Result]:
        """Those rounds of a case that went well."""
        return _of(Result, self.results.get(name, []))

    def groups(self, name: str) -> list[GroupResult]:
        """The same of a large chat."""
        return _of(GroupResult, self.results.get(name, []))

    def against_baseline(self, figure: Callable[[Result], float]) -> float | None:
        """Median of the rounds' ratios, ours to the baseline's at the same window; None if one of them was not measured."""
        pairs = zip(self.results.get(LIKE_BASELINE, []), self.results.get(BASELINE, []), strict=False)
        found = [
            figure(one) / figure(other) for one, other in pairs if isinstance(one, Result) and isinstance(other, Result)
        ]
        return statistics.median(found) if found else None

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": self.versions,
            "failures": self.failures,
            "results": {
                name: {
                    "title": self.cases[name].title,
                    "system": str(self.cases[name].system),
                    "rounds": [_rounded(dataclasses.asdict(one)) if one else None for one in each],
                }
                for name, each in self.results.items()
            },
        }


def _of(kind: type[_T], results: Sequence[Result | GroupResult | None]) -> list[_T]:
    return [one for one in results if isinstance(one, kind)]


def per_message(result: Result) -> dict[str, float]:
    """Microseconds of CPU per message: of each of `PARTS`, and of `load`."""
    found = dict.fromkeys((*PARTS, "load"), 0.0)
    for name, seconds in result.cpu.items():
        part = name.split(" ", 1)[0]  # several bridges count as one
        found[part if part in found else "the rest"] += seconds / result.messages * 1e6
    return found


def servers(result: Result) -> float:
    """Microseconds of CPU per message of all but the load generator."""
    return sum(per_message(result)[part] for part in PARTS)


# ---- Markdown


def markdown(report: Report) -> str:
    """A table of what flows in pairs, and one of large chats."""
    versions = ", ".join(f"{name} ({version})" for name, version in report.versions.items())
    lines = [f"{report.at:%Y-%m-%d}, {machine()}; {versions}; {report.rounds} round(s), medians.", ""]
    lines += [*_disturbed(report), *(f"- Failed: {failure}." for failure in report.failures)]
    lines += [*_comparison(report), *_losses(report)]
    if lines[-1]:
        lines.append("")
    return "\n".join([*lines, *_table(report), *_large_chats(report)]).rstrip()


def _table(report: Report) -> list[str]:
    rows = [name for name in report.results if report.messages(name)]
    if not rows:
        return []
    heads = (
        *("", "messages/s", "publish to PUBACK p50, p99 ms", "publish to delivery p50, p99 ms"),
        *(f"{part}, µs" for part in PARTS),
        *("servers together, µs", "cores", "load, cores", "not delivered"),
    )
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    return [*lines, *(_row(report.cases[name], report.messages(name)) for name in rows), ""]


def _row(case: Case, results: Sequence[Result]) -> str:
    def median(figure: Callable[[Result], float]) -> float:
        return statistics.median(map(figure, results))

    parts = [f"{median(lambda one, part=part: per_message(one)[part]):,.0f}" for part in PARTS]  # type: ignore[misc]
    missing = sum(one.missing for one in results)
    cells = (
        title(case),
        f"{median(lambda one: one.rate):,.0f}",
        _times([one.acked for one in results]),
        _times([one.delivered for one in results]),
        *parts,
        f"{median(servers):,.0f}",
        f"{median(lambda one: servers(one) * one.rate / 1e6):.2f}",
        f"{median(lambda one: one.cpu.get('load', 0.0) / one.elapsed):.2f}",
        f"{missing:,}",
    )
    return f"| {' | '.join(cells)} |"


def title(case: Case) -> str:
    """Of a row, with the system where it is not ours."""
    return case.title if case.system is System.PABAL else f"{case.system}: {case.title}"


def _times(pairs: Sequence[Times]) -> str:
    return ", ".join(f"{statistics.median(values) * 1e3:,.1f}" for values in zip(*pairs, strict=True))


def _disturbed(report: Report) -> list[str]:
    others = [one.others for name in report.results for one in report.messages(name)]
    if not others:
        return []
    median = statistics.median(others)
    lines = [f"- Everything else on the machine took {median:.2f} cores (median), {max(others):.2f} at most."]
    if median > DISTURBED:
        lines.append(
            "- **The machine was busy: rates are lower bounds and times upper ones; the CPU per message says more.**"
        )
    return lines


def _comparison(report: Report) -> list[str]:
    rate, cpu = report.against_baseline(lambda one: one.rate), report.against_baseline(servers)
    if rate is None or cpu is None:
        return []
    return [
        f"- At window 20, {System.PABAL} / {System.NAIVE}: {rate:.1f} times the messages/s, {cpu:.2f} times the CPU per message."
    ]


def _losses(report: Report) -> list[str]:
    lines = []
    for name, case in report.cases.items():
        results = report.messages(name)
        reasons: dict[str, int] = {}
        for dropped in [*(one.dropped for one in results), *(one.dropped for one in report.groups(name))]:
            for reason, count in dropped.items():
                reasons[reason] = reasons.get(reason, 0) + count
        if reasons:
            said = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
            lines.append(
                f"- {title(case)}: the broker dropped, and counted: {said} (readers that fell behind catch up by sync)."
            )
        if lost := sum(one.lost for one in results):
            lines.append(f"- **{title(case)}: {lost:,} messages are missing and were not counted as dropped.**")
    return lines


def _large_chats(report: Report) -> list[str]:
    lines: list[str] = []
    for name in report.results:
        if results := report.groups(name):
            lines += [*_large_chat(report.cases[name].title, results), ""]
    return lines


def _large_chat(name: str, results: Sequence[GroupResult]) -> list[str]:
    def median(figure: Callable[[GroupResult], float]) -> float:
        return statistics.median(map(figure, results))

    lines = [f"| one message to {name} | |", "|---|---:|"]
    for what, seconds in (
        ("publish to PUBACK, ms", median(lambda one: one.acked)),
        ("publish to the first member, ms", median(lambda one: one.first)),
        ("publish to all who are connected, ms", median(lambda one: one.last)),
    ):
        lines.append(f"| {what} | {seconds * 1e3:,.1f} |")
    lines.append(f"| copies per connected member | {median(lambda one: one.copies):g} |")
    for what in results[0].writes:
        count = median(lambda one, what=what: one.writes[what])  # type: ignore[misc]
        lines.append(f"| mongod, receipts included: {what} | {max(0.0, count):,.0f} |")
    cpu = {part: statistics.median(one.cpu.get(part, 0.0) for one in results) for part in results[0].cpu}
    said = ", ".join(f"{part} {seconds * 1e3:,.0f}" for part, seconds in cpu.items() if seconds >= 0.001)
    return [*lines, f"| CPU with the three seconds after it, ms | {said or NOTHING} |"]


def heading() -> str:
    """What all cases have in common, for the picture."""
    return f"{PAIRS} writers, {PAIRS} readers, {CHATS} chats, 1 KiB, stored with majority"


def plotted(report: Report) -> list[tuple[Messages, list[Result]]]:
    """The cases that run as fast as they can."""
    found = []
    for name, case in report.cases.items():
        if isinstance(case, Messages) and not case.rate and (results := report.messages(name)):
            found.append((case, results))
    return found


def _rounded(value: Any) -> Any:
    match value:
        case dict():
            return {name: _rounded(one) for name, one in value.items()}
        case list() | tuple():
            return [_rounded(one) for one in value]
        case float():
            return float(f"{value:.5g}")
        case _:
            return value
