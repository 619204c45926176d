"""The whole path as a picture: messages per second of each case, and the CPU that one message costs, by process."""

from __future__ import annotations

import math
import statistics

from bench.chart import COLOURS, GREY, INK, line, text
from bench.path.cases import System
from bench.path.report import PARTS, Report, heading, per_message, plotted, title
from bench.report import machine

_WIDTH, _LEFT, _TOP, _ROW, _BAR = 1020, 260, 84, 28, 16
_PANEL, _GAP, _LABEL = 290, 70, 90
_RATE, _BASELINE = "#56b4e9", "#999999"
_PARTS = (*COLOURS, "#cc79a7")
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def draw(report: Report) -> str:
    """The SVG document."""
    rows = plotted(report)
    rates = [statistics.median(one.rate for one in results) for _, results in rows]
    costs = [
        {part: statistics.median(per_message(one)[part] for one in results) for part in PARTS} for _, results in rows
    ]
    left, right = (
        _Panel(_LEFT, max(rates, default=0.0)),
        _Panel(_LEFT + _PANEL + _GAP, max((sum(one.values()) for one in costs), default=0.0)),
    )
    height = _TOP + _ROW * len(rows) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        text(16, 24, f"The whole path: {heading()}", size=16),
        text(16, 44, f"median of {report.rounds} round(s); {machine()}, {report.at:%Y-%m-%d}", colour="#666666"),
        text(_LEFT, 68, "messages/s"),
        *_legend(right.left),
        *left.grid(len(rows)),
        *right.grid(len(rows)),
    ]
    for index, ((case, _), rate, cost) in enumerate(zip(rows, rates, costs, strict=True)):
        y = _TOP + _ROW * index + _ROW / 2
        colour = _RATE if case.system is System.PABAL else _BASELINE
        parts.append(text(_LEFT - 10, y + 4, title(case), anchor="end", size=12))
        parts += [_bar(left.left, left.x(rate), y, colour), text(left.x(rate) + 5, y + 4, f"{rate:,.0f}", size=11)]
        at = 0.0
        for part, part_colour in zip(PARTS, _PARTS, strict=True):
            parts.append(_bar(right.x(at), right.x(at + cost[part]), y, part_colour))
            at += cost[part]
        parts.append(text(right.x(at) + 5, y + 4, f"{at:,.0f}", size=11))
    return "\n".join([*parts, "</svg>", ""])


class _Panel:
    """A linear scale from zero.

    Args:
        left: pixels.
        most: the greatest value.
    """

    def __init__(self, left: float, most: float) -> None:
        self.left = left
        self._most = most or 1.0

    def x(self, value: float) -> float:
        return self.left + value / self._most * (_PANEL - _LABEL / 2)

    def grid(self, rows: int) -> list[str]:
        bottom = _TOP + _ROW * rows
        step = round_step(self._most)
        parts = []
        for number in range(int(self._most / step) + 1):
            x = self.x(number * step)
            parts.append(line(x, _TOP - 4, x, bottom + 4, GREY if number else INK, 1.0))
            parts.append(text(x, bottom + 22, f"{number * step:,g}", anchor="middle", size=11))
        return parts


def round_step(most: float) -> float:
    """A round distance of about four lines up to `most`."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    return power * min(step for step in _STEPS if step * power >= most / 4)


def _legend(x: float) -> list[str]:
    parts = [text(x, 68, "CPU per message, µs:")]
    x += 132
    for colour, part in zip(_PARTS, PARTS, strict=True):
        parts += [f'<rect x="{x:.1f}" y="58" width="10" height="10" fill="{colour}"/>', text(x + 14, 68, part, size=12)]
        x += 24 + 7 * len(part)
    return parts


def _bar(x1: float, x2: float, y: float, colour: str) -> str:
    width = max(0.0, x2 - x1)
    return f'<rect x="{x1:.1f}" y="{y - _BAR / 2:.1f}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
