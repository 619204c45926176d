"""What the commands of `pabal` share: their options, and how they fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from stack import lock
from stack.settings import StackSettings
from stack.state import StackFile, State

StateOption = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="The state directory. [PABAL_STATE; default: var]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON, for programs.")]


def load_settings(**flags: Any) -> StackSettings:
    """Settings from the environment; flags that were given win. The command ends if one is wrong."""
    try:
        return StackSettings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        wrong = [
            f"PABAL_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}" for item in error.errors()
        ]
        fail("\n".join(wrong))


def running(state: Path | None) -> tuple[StackFile, State]:
    """The stack that runs on a state directory; the command ends if none does."""
    where = State.at(load_settings(state=state).state)
    pid = lock.holder(where.lock)
    if pid is None:
        fail(f"nothing runs on {where.root}: start it with `pabal up`, or name its directory with --state DIR")
    found = where.read_stack()
    if found is None:
        fail(f"the stack on {where.root} (pid {pid}) has not become healthy yet: `pabal doctor` says more")
    return found, where


def print_json(value: object) -> None:
    """For programs."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def fail(text: str) -> NoReturn:
    """End the command with a sentence and exit code 1."""
    Console(stderr=True).print(f"[bold red]pabal:[/] {escape(text)}", highlight=False, soft_wrap=True)
    raise typer.Exit(1)
