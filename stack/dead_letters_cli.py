"""`pabal dead-letters …`: messages and background jobs that could not be processed, of a running stack, through its API as its administrator."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from stack.api_client import Api, named
from stack.command import JsonOption, StateOption, print_json

PATH = "dead-letters"
WIDE = 400

app = typer.Typer(
    help="Messages and background jobs that could not be processed: look at them, send them again, throw them away.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LetterArgument = Annotated[str, typer.Argument(metavar="ID", help="As `pabal dead-letters list` shows it.")]

WhyOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, help="Show so many at most.")] = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List them by id, without what people wrote.

    With --json: a list of objects.
    """
    rows, more = Api(state).items(PATH, limit)
    if as_json:
        print_json(rows)
        return
    columns = [Column(name, no_wrap=True) for name in ("id", "kind", "chat", "parked")]
    table = Table(*columns, "tries", "bytes", "reason", "replayed", box=None, pad_edge=False)
    for row in rows:
        replays = sum(line["what"] == "replayed" for line in row["history"])
        words = (
            row["id"],
            row["kind"],
            row["chat"] or "-",
            _time(row["at"]),
            str(row["tries"]),
            str(row["size"]),
            row["reason"],
        )
        table.add_row(*map(escape, words), str(replays) if row["replayable"] else "can't be")
    console = _console()
    if rows:
        console.print(table)
    console.print(f"{len(rows)} shown, there are more: --limit N" if more else f"{len(rows)} in all", highlight=False)


@app.command()
def show(
    letter: LetterArgument,
    payload: Annotated[bool, typer.Option("--payload", help="What it says, too: somebody's words.")] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one with its history. Exit code 1 if there is none of that id."""
    found = Api(state).ask("GET", named(PATH, letter))
    if not payload:
        del found["payload"]
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in found.items():
        if name not in ("history", "properties", "payload"):
            table.add_row(name.replace("_", " "), escape("-" if value is None else str(value)))
    for line in found["history"]:
        words = " ".join(
            word for word in (line["what"], line["detail"], f"by {line['by']}" if line["by"] else "") if word
        )
        table.add_row(_time(line["at"]), escape(words))
    console = _console()
    console.print(table)
    if payload:
        typer.echo(found["payload"])


@app.command()
def replay(
    letter: LetterArgument, reason: WhyOption = "", state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Send a message again as its sender, through the whole path; do a job again.

    A message keeps its id, so it is stored once however often it is sent, and the letter is dropped once it is stored. Exit code 1 if it
    was refused again: then it stays, and `show` says why. A job that fails again becomes the same letter again.
    """
    done = Api(state).ask("POST", named(PATH, letter, "replay"), query={"reason": reason})
    if as_json:
        print_json(done)
        return
    what = f"{done['job']} is in its queue" if done["job"] else f"stored as message {done['seq']} of {done['chat']}"
    typer.echo(f"{letter}: {what}; the letter is gone")


@app.command()
def drop(
    letter: LetterArgument, reason: WhyOption = "", state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Throw one away for good. Exit code 1 if there is none of that id."""
    Api(state).ask("DELETE", named(PATH, letter), query={"reason": reason})
    if as_json:
        print_json({"id": letter, "dropped": True})
        return
    typer.echo(f"{letter}: dropped")


def _time(text: str) -> str:
    """`2026-05-04 03:02:01`, UTC."""
    return text[:19].replace("T", " ")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)  # whoever reads it from a pipe wants ids whole
