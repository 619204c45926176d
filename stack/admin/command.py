"""What the commands of `pabal admin` share: their options, tables, and questions before what can't be taken back."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from stack.command import JsonOption, StateOption, fail

__all__ = [
    "JsonOption",
    "LimitOption",
    "ReasonOption",
    "StateOption",
    "YesOption",
    "columns",
    "confirm",
    "pairs",
    "table",
    "time",
    "word",
]

WIDE = 400
"""Columns for who reads from a pipe: they want ids whole."""

LimitOption = Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, help="Show so many at most.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: it goes to the audit log.")]
YesOption = Annotated[bool, typer.Option("-y", "--yes", help="Don't ask.")]


def confirm(what: str, *, yes: bool) -> None:
    """Ask before something is done. Without a terminal nobody can answer: then --yes is wanted."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail(f"{what}: say --yes if you mean it")
    typer.confirm(f"{what}?", abort=True)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], *, more: bool = False) -> None:
    """Rows for people; 한글 takes two columns per syllable, which rich knows."""
    made = Table(*columns(head), box=None, pad_edge=False)
    count = 0
    for row in rows:
        made.add_row(*(escape(word(value)) for value in row))
        count += 1
    console = _console()
    if count:
        console.print(made)
    console.print(f"{count} shown, there are more: --limit N" if more else f"{count} in all", highlight=False)


def pairs(rows: Iterable[tuple[str, Any]]) -> None:
    """Names and values of one thing."""
    made = Table(box=None, pad_edge=False, show_header=False)
    for name, value in rows:
        made.add_row(name.replace("_", " "), escape(word(value)))
    _console().print(made)


def columns(names: Sequence[str]) -> list[Column]:
    """The first one is an id, which is never broken."""
    return [Column(name, no_wrap=number == 0, overflow="fold") for number, name in enumerate(names)]


def word(value: Any) -> str:
    """A value for people."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(word, value))
    return str(value)


def time(text: str | None) -> str:
    """`2026-05-04 03:02:01`, UTC."""
    return "-" if text is None else text[:19].replace("T", " ")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)
