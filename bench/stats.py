"""Percentiles, CPU of processes, and the table that reports print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values don't pass; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pid: int) -> float:
    """User and system seconds that a process and its children have used."""
    try:
        process = psutil.Process(pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(time.user + time.system for time in times)


def busy_seconds() -> float:
    """Seconds that all CPUs of the machine together have worked, for whomever; what a hypervisor took away included."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        rate: messages per second.
        p50: seconds.
        p99: seconds.
        server_cpu: cores that the server used.
        load_cpu: cores that the load generator used: near 1 means that it was the bottleneck.
    """

    name: str
    rate: float
    p50: float
    p99: float
    server_cpu: float
    load_cpu: float


def table(title: str, rows: Sequence[Row], *, latency: str, base: str | None = None) -> str:
    """A Markdown table; `base` names the row that the rates are compared to."""
    reference = next((row.rate for row in rows if row.name == base), 0.0)
    ratio_head = f"ratio to {base} | " if base else ""
    lines = [
        f"### {title}",
        "",
        f"| | messages/s | {ratio_head}{latency} p50 ms | p99 ms | server CPU, cores | load CPU, cores |",
        "|---|" + "---:|" * (6 if base else 5),
    ]
    for row in rows:
        ratio = f"{row.rate / reference:.2f} | " if reference else ""
        lines.append(
            f"| {row.name} | {row.rate:,.0f} | {ratio}{row.p50 * 1e3:.1f} | {row.p99 * 1e3:.1f} "
            f"| {row.server_cpu:.2f} | {row.load_cpu:.2f} |"
        )
    return "\n".join(lines)
