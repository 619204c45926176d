"""`pabal keys …`: the keys that sign access tokens, of a state directory, whether or not its stack runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from stack import processes
from stack.command import JsonOption, StateOption, load_settings
from stack.state import State

app = typer.Typer(
    help="The keys that sign access tokens: show them, change them without logging anyone out.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show which key signs, and which still verify.

    With --json: a list of objects with kid, state and until.
    """
    _keys(state, as_json, "list")


@app.command()
def rotate(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Make a new key that signs from now on. Takes two seconds.

    Nobody is logged out: the older keys verify until their tokens have expired, and their private halves are deleted.
    """
    _keys(state, as_json, "rotate")


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(metavar="KID", help="As `pabal keys list` shows it.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a key verify no more, because somebody else may have it.

    Its tokens are refused within a minute; apps refresh theirs. The key that signs can't be retired: rotate first. Exit code 1
    if there is none of that name.
    """
    _keys(state, as_json, "retire", kid)


def _keys(state: Path | None, as_json: bool, *command: str) -> None:
    where = State.at(load_settings(state=state).state)
    argv = [
        sys.executable,
        "-m",
        "api.keys",
        "--keys-dir",
        str(where.directory("keys")),
        "--jwks-file",
        str(where.jwks),
    ]
    done = subprocess.run(  # noqa: S603 -- our own program
        [*argv, *(["--json"] if as_json else []), *command],
        cwd=processes.REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
    )
    typer.echo(done.stdout, nl=False)
    typer.echo(done.stderr, nl=False, err=True)
    raise typer.Exit(min(done.returncode, 1) if done.returncode >= 0 else 1)
