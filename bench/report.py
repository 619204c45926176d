"""What the broker comparison found: medians over rounds, ratios to a base, as Markdown and as JSON.

A ratio is the median of the rounds' ratios: what stands in one round was measured within seconds of each other.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bench.measure import Result
from bench.scenarios import BASE, Idle, Scenario

REFERENCE = "Mosquitto"
NOTHING = "-"
DISTURBED = 0.3
"""Cores for others, of two, beyond which rates say little. Ours needs some for mongod and Valkey at logins only."""
OURS = "Pabal"


class Ratio(NamedTuple):
    """Above 1 is better than what it is compared with, whatever the unit."""

    median: float
    least: float
    most: float


@dataclass(slots=True)
class Report:
    """All measurements.

    Attributes:
        scenarios: what was measured.
        peers: version per broker.
        setups: per broker, how logins, rights and sessions are kept.
        results: per scenario and broker, one result per round; None where it failed.
        failures: what failed, a sentence each.
    """

    scenarios: Mapping[str, Scenario]
    peers: Mapping[str, str]
    setups: dict[str, str] = field(default_factory=dict)
    results: dict[str, dict[str, list[Result | None]]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def add(self, scenario: str, peer: str, result: Result | None) -> None:
        """One more."""
        self.results.setdefault(scenario, {}).setdefault(peer, []).append(result)

    @property
    def rounds(self) -> int:
        """The most that any broker had."""
        return max((len(each) for found in self.results.values() for each in found.values()), default=0)

    def ratio(self, scenario: str, peer: str, base: str = REFERENCE) -> Ratio | None:
        """`peer` compared with `base` on the same scenario; None if one of them was not measured."""
        found = self.results.get(scenario, {})
        return ratio(
            found.get(peer, []), found.get(base, []), lower_is_better=_lower_is_better(self.scenarios[scenario])
        )

    def per_cpu(self, scenario: str, peer: str) -> Ratio | None:
        """The same per second of the broker's CPU, which other work on the machine moves less; None for memory."""
        found = self.results.get(scenario, {})
        if _lower_is_better(self.scenarios[scenario]):
            return None
        return ratio(_per_cpu(found.get(peer, [])), _per_cpu(found.get(REFERENCE, [])), lower_is_better=False)

    def against_base(self, scenario: str, peer: str) -> tuple[Ratio, Ratio] | None:
        """`peer` on this scenario compared with itself on the plain one: the rate, and per second of its CPU."""
        these, those = self.results.get(scenario, {}).get(peer, []), self.results.get(BASE, {}).get(peer, [])
        rate = ratio(these, those, lower_is_better=False)
        per_cpu = ratio(_per_cpu(these), _per_cpu(those), lower_is_better=False)
        return (rate, per_cpu) if rate and per_cpu else None

    def as_json(self) -> dict[str, Any]:
        """Everything that was measured."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "machine": machine(),
            "peers": dict(self.peers),
            "setups": self.setups,
            "units": {name: self.scenarios[name].unit for name in self.results},
            "failures": self.failures,
            "results": {
                name: {peer: [_plain(one) if one else None for one in each] for peer, each in found.items()}
                for name, found in self.results.items()
            },
        }


def machine() -> str:
    """What it ran on."""
    return f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()}"


def ratio(these: Sequence[Result | None], those: Sequence[Result | None], *, lower_is_better: bool) -> Ratio | None:
    """Round by round; None without a pair."""
    pairs = [(one.value, other.value) for one, other in zip(these, those, strict=False) if one and other]
    found = [one / other for one, other in pairs if one and other]
    if lower_is_better:
        found = [1 / one for one in found]
    return Ratio(statistics.median(found), min(found), max(found)) if found else None


def _per_cpu(results: Sequence[Result | None]) -> list[Result | None]:
    return [dataclasses.replace(one, value=one.value / one.server) if one and one.server else None for one in results]


def median(results: Sequence[Result | None]) -> Result | None:
    """Each field's median; None if all failed."""
    good = [one for one in results if one]
    if not good:
        return None
    return Result(
        statistics.median(one.value for one in good),
        _median_pair([one.ack for one in good if one.ack]),
        _median_pair([one.delivery for one in good if one.delivery]),
        statistics.median(one.server for one in good),
        statistics.median(one.load for one in good),
        statistics.median(one.others for one in good),
    )


def markdown(report: Report) -> str:
    """Two tables: what each broker did, and with what latency and CPU."""
    names = list(report.peers)
    versions = ", ".join(f"{name} {version}" for name, version in report.peers.items())
    lines = [f"{report.at:%Y-%m-%d}, {machine()}; {versions}; {report.rounds} round(s), medians.", ""]
    lines += [f"- {name}: {setup}." for name, setup in report.setups.items()]
    lines += _disturbed(report)
    compared = [name for name in names if name != REFERENCE] if REFERENCE in names else []
    heads = [*names, *(f"{name} / {REFERENCE}" for name in compared), *(f"{name}, per CPU" for name in compared)]
    lines += ["", f"| | unit | {' | '.join(heads)} |", "|---|---|" + "---:|" * len(heads)]
    for name, found in report.results.items():
        scenario = report.scenarios[name]
        middle = [median(found.get(peer, [])) for peer in names]
        cells = [f"{one.value:,.0f}" if one else NOTHING for one in middle]
        cells += [_ratio_cell(report.ratio(name, peer)) for peer in compared]
        cells += [_ratio_cell(report.per_cpu(name, peer)) for peer in compared]
        lines.append(f"| {scenario.title} | {scenario.unit} | {' | '.join(cells)} |")
    lines += ["", *(f"- Failed: {failure}." for failure in report.failures), *([""] if report.failures else [])]
    lines += [*_filters(report), *_details(report)]
    return "\n".join(lines)


def _disturbed(report: Report) -> list[str]:
    others = [one.others for found in report.results.values() for each in found.values() for one in each if one]
    if not others:
        return []
    lines = [
        f"- Everything else on the machine took {statistics.median(others):.2f} cores (median), {max(others):.2f} at most."
    ]
    if statistics.median(others) > DISTURBED:
        lines.append(
            "- **The machine was busy: the rates are lower bounds, and only what is per CPU can be compared.**"
        )
    return lines


def _filters(report: Report) -> list[str]:
    lines = []
    for name in ("exact", "wildcards"):
        kept = {peer: report.against_base(name, peer) for peer in report.peers}
        parts = [f"{peer} {both[0].median:.0%} ({both[1].median:.0%} per CPU)" for peer, both in kept.items() if both]
        if parts:
            lines.append(f"- {report.scenarios[name].title}, of the rate without them: {', '.join(parts)}.")
    return [*lines, ""] if lines else []


def _details(report: Report) -> list[str]:
    heads = (
        *("", "broker", "publish to acknowledgement p50, p99 ms", "publish to delivery p50, p99 ms"),
        *("broker CPU, cores", "load CPU, cores", "per second of the broker's CPU"),
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * 5]
    for name, found in report.results.items():
        for peer, results in found.items():
            if (one := median(results)) is None:
                continue
            scenario = report.scenarios[name]
            per_core = f"{one.value / one.server:,.0f}" if one.server and not _lower_is_better(scenario) else NOTHING
            lines.append(
                f"| {scenario.title} | {peer} | {_times(one.ack)} | {_times(one.delivery)} "
                f"| {one.server:.2f} | {one.load:.2f} | {per_core} |"
            )
    return lines


def _lower_is_better(scenario: Scenario) -> bool:
    return isinstance(scenario, Idle)


def shown(value: float) -> str:
    """A ratio with two decimals, a very small one with two digits."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _median_pair(pairs: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    if not pairs:
        return None
    return statistics.median(one for one, _ in pairs), statistics.median(other for _, other in pairs)


def _times(pair: tuple[float, float] | None) -> str:
    return f"{pair[0] * 1e3:.1f}, {pair[1] * 1e3:.1f}" if pair else NOTHING


def _ratio_cell(found: Ratio | None) -> str:
    if found is None:
        return NOTHING
    spread = f" ({shown(found.least)} to {shown(found.most)})" if found.least != found.most else ""
    return f"{shown(found.median)}{spread}"


def _plain(result: Result) -> dict[str, Any]:
    fields = dataclasses.asdict(result)
    return {name: _rounded(value) for name, value in fields.items() if value is not None}


def _rounded(value: Any) -> Any:
    return [_rounded(one) for one in value] if isinstance(value, tuple) else float(f"{value:.5g}")
