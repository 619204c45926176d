"""What `pabal up` shows: a live table on a terminal, one line per change elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from stack.processes import ProcessSpec
from stack.running import Status

_MARKS = {
    Status.WAITING: "[dim]·[/]",
    Status.HEALTHY: "[green]✔[/]",
    Status.DONE: "[green]✔[/]",
    Status.RESTARTING: "[red]↻[/]",
    Status.ENDING: "[yellow]▾[/]",
    Status.ENDED: "[dim]·[/]",
}


class TerminalConsole(Console):
    """A console whose reader may go away (`pabal up | head`): nothing is shown any more, and the stack goes on."""

    def on_broken_pipe(self) -> None:
        """Rich would exit here."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@dataclass(slots=True)
class Row:
    """What is known of one child."""

    spec: ProcessSpec
    status: Status = Status.WAITING
    pid: int | None = None
    starts: int = 0
    since: float = field(default_factory=time.monotonic)


class Display:
    """Shows the children.

    Args:
        console: where to; a terminal gets the live table until everything is healthy, and lines after that.
    """

    def __init__(self, specs: Sequence[ProcessSpec], console: Console) -> None:
        self.console = console
        self._rows = {spec.name: Row(spec) for spec in specs}
        self._spinner = Spinner("dots")
        self._live = (
            Live(get_renderable=self._table, console=console, refresh_per_second=10) if _is_live(console) else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.settle()

    def settle(self) -> None:
        """The table stays as it is now; from here on there are lines."""
        if self._live:
            self._live.stop()
            self._live = None

    def changed(self, name: str, status: Status, pid: int | None = None) -> None:
        """A child came into another state."""
        row = self._rows[name]
        took = time.monotonic() - row.since
        row.status, row.pid, row.since = status, pid, time.monotonic()
        if status is Status.STARTING:
            row.starts += 1
        if self._live is None and status is not Status.RESTARTING:  # of that the keeper speaks itself
            self.console.print(self._line(row, took), highlight=False, soft_wrap=True)

    def say(self, text: str, *, style: str = "") -> None:
        """One sentence to whoever watches."""
        self.console.print(Text(text, style=style), highlight=False, soft_wrap=True)

    def _line(self, row: Row, took: float) -> str:
        mark = _MARKS.get(row.status, "[cyan]…[/]")
        parts = [f"{mark} {row.spec.name:<10} {row.status.value}"]
        if row.status in (Status.HEALTHY, Status.DONE):
            parts.append(f"after {took:.1f} s")
        if row.pid is not None:
            parts.append(f"(pid {row.pid})")
        if row.status is Status.HEALTHY and row.spec.address:
            parts.append(escape(row.spec.address))
        return " ".join(parts)

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for heading in ("", "process", "state", "pid", "address"):
            table.add_column(heading, style="dim" if heading in ("pid", "address") else "", no_wrap=True)
        for name, row in self._rows.items():
            mark = self._spinner if row.status is Status.STARTING else Text.from_markup(_MARKS[row.status])
            again = f" (start {row.starts})" if row.starts > 1 else ""
            table.add_row(mark, name, row.status.value + again, str(row.pid or ""), row.spec.address or "")
        return table


def _is_live(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def summary(console: Console, lines: Mapping[str, str]) -> None:
    """Name and value, aligned, without wrapping: people copy these."""
    width = max(len(name) for name in lines)
    for name, value in lines.items():
        console.print(f"  [bold]{name:<{width}}[/]  {escape(value)}", highlight=False, soft_wrap=True)
