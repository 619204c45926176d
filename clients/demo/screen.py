"""How the demo looks: lines as they happen, or one JSON document at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from clients.demo.play import Result


class Screen(Protocol):
    """Somebody who watches."""

    def begin(self, title: str) -> None:
        """A step begins."""

    def say(self, line: str) -> None:
        """Something happens in it."""

    def end(self, result: Result) -> None:
        """It ends."""

    def finish(self, results: Sequence[Result]) -> None:
        """The story ends."""


class RichScreen:
    """For people."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None

    def begin(self, title: str) -> None:
        """Show the step that runs, with a spinner where the output is a terminal."""
        self._status = self._console.status(f"{escape(title)} …")
        self._status.start()

    def say(self, line: str) -> None:
        """Show a line below the step's."""
        self._console.print(f"    [dim]{escape(line)}[/]", highlight=False, soft_wrap=True)

    def end(self, result: Result) -> None:
        """Show how the step ended."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        mark = "[green]✓[/]" if result.ok else "[yellow]○[/]" if result.skipped else "[bold red]✗[/]"
        colour = "cyan" if result.ok else "yellow" if result.skipped else "red"
        line = f"{mark} {escape(result.title)}  [{colour}]{escape(result.detail)}[/]  [dim]{result.ms} ms[/]"
        self._console.print(line, highlight=False, soft_wrap=True)

    def finish(self, results: Sequence[Result]) -> None:
        """Show the sum."""
        good = sum(result.ok for result in results)
        colour = "green" if good == len(results) else "red"
        self._console.print(f"[bold {colour}]{good} of {len(results)} steps are as expected[/]", highlight=False)


class JsonScreen:
    """For programs: a list of `{"name", "ok", "detail", "ms"}`, with `"skipped": true` where a step was not run."""

    def begin(self, title: str) -> None:
        """Nothing to show yet."""

    def say(self, line: str) -> None:
        """Nothing to show of it."""

    def end(self, result: Result) -> None:
        """Nothing to show yet."""

    def finish(self, results: Sequence[Result]) -> None:
        """Print all of it."""
        rows = [
            {"name": result.name, "ok": result.ok, "detail": result.detail, "ms": result.ms}
            | ({"skipped": True} if result.skipped else {})
            for result in results
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=2))  # noqa: T201  # the document is the output
