"""The comparison as a picture: per scenario, how often the reference's figure each broker reached, on a logarithmic scale.

Written as SVG by hand: a few lines, dots and texts, which need no plotting library in everybody's environment, and whose
changes a diff shows.
"""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from bench.report import OURS, REFERENCE, Ratio, Report, machine, shown

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 860, 270, 40, 74, 26
_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
COLOURS = ("#0072b2", "#d55e00", "#009e73")
"""Told apart by the colour-blind too (Okabe and Ito)."""
INK, GREY = "#222222", "#c8c8c8"


def draw(report: Report) -> str:
    """The SVG document; scenarios without a figure of the reference are left out."""
    peers = [name for name in report.peers if name != REFERENCE]
    rows = [(name, {peer: report.ratio(name, peer) for peer in peers}) for name in report.results]
    rows = [(name, found) for name, found in rows if any(found.values())]
    scale = _Scale([one for _, found in rows for ratio in found.values() if ratio for one in ratio])
    height = _TOP + _ROW * len(rows) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        text(
            16,
            24,
            f"How many times the figure of {REFERENCE} {report.peers.get(REFERENCE, '')}: right of the line is better",
            size=16,
        ),
        *_legend(peers, report),
        *_grid(scale, len(rows)),
    ]
    for index, (name, found) in enumerate(rows):
        y = _TOP + _ROW * index + _ROW / 2
        parts.append(text(_LEFT - 12, y + 4, report.scenarios[name].title, anchor="end"))
        for colour, peer in zip(COLOURS, peers, strict=False):
            if (ratio := found[peer]) is not None:
                parts += _mark(scale, ratio, y, colour, left=peer != OURS)
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    """Ratios to pixels."""

    def __init__(self, values: list[float]) -> None:
        low, high = min([*values, 0.5]) / 2.5, max([*values, 2.0]) * 1.45
        self.ticks = [tick for tick in _TICKS if low <= tick <= high]
        self._low, self._span = math.log(low), math.log(high) - math.log(low)

    def x(self, value: float) -> float:
        return _LEFT + (math.log(value) - self._low) / self._span * (_WIDTH - _LEFT - _RIGHT)


def _grid(scale: _Scale, rows: int) -> list[str]:
    bottom = _TOP + _ROW * rows
    parts = []
    for tick in scale.ticks:
        x, reference = scale.x(tick), tick == 1.0
        parts.append(line(x, _TOP - 4, x, bottom + 4, INK if reference else GREY, 1.5 if reference else 1.0))
        parts.append(text(x, bottom + 22, f"{tick:g}", anchor="middle"))
    return parts


def _legend(peers: list[str], report: Report) -> list[str]:
    x, parts = 16.0, []
    for colour, peer in zip(COLOURS, peers, strict=False):
        label = f"{peer} ({report.peers[peer]})"
        parts += [f'<circle cx="{x + 5:.1f}" cy="46" r="5" fill="{colour}"/>', text(x + 16, 50, label)]
        x += 40 + 7.5 * len(label)
    label = f"median of {report.rounds} round(s), least to most; {machine()}, {report.at:%Y-%m-%d}"
    return [*parts, text(x, 50, label, colour="#666666")]


def _mark(scale: _Scale, ratio: Ratio, y: float, colour: str, *, left: bool) -> list[str]:
    """A dot with its spread and figure; the figures of two brokers stand on opposite sides, so that they don't collide."""
    x, least, most = map(scale.x, ratio)
    at, anchor = (least - 9, "end") if left else (most + 9, "start")
    label = shown(ratio.median)
    return [
        line(least, y, most, y, colour, 2.0),
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>',
        text(at, y + 4, label, anchor=anchor, size=11, edge="#ffffff"),  # legible where a line runs behind it
        text(at, y + 4, label, anchor=anchor, size=11, colour=colour),
    ]


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    """A straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def text(
    x: float, y: float, words: str, *, anchor: str = "start", size: int = 13, colour: str = INK, edge: str = ""
) -> str:
    """A piece of text; with `edge`, an outline of it."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    stroke = f' stroke="{edge}" stroke-width="3"' if edge else ""
    return f'<text {place} fill="{edge or colour}"{stroke}>{escape(words)}</text>'
