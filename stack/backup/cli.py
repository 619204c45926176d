"""`pabal backup …`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pymongo.errors import PyMongoError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stack import lock
from stack.backup.create import BackupFailed, count_documents, create
from stack.backup.manifest import BackupDamaged, Manifest, verify
from stack.backup.manifest import Progress as Told
from stack.backup.restore import RestoreRefused, restore
from stack.command import JsonOption, StateOption, fail, load_settings, print_json
from stack.lock import AlreadyRunning
from stack.servers import BinaryMissing
from stack.settings import StackSettings
from stack.state import State

app = typer.Typer(
    help="Backups: made while everything runs, checked, put back.", no_args_is_help=True, rich_markup_mode=None
)

BackupArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The directory of the backup.")]


@app.command("create")
def create_command(
    backup: BackupArgument,
    state: StateOption = None,
    sessions: Annotated[bool, typer.Option("--sessions", help="The broker's persistent sessions too.")] = False,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Without keys and secrets: who has the backup can't sign in as anybody.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy everything, as it is at one moment, into a new directory; writing goes on meanwhile.

    Of the stack that runs on the state directory, or of PABAL_MONGO_URL. With its keys, so keep it as you keep those. Exit code 1, and no
    manifest.json, if it is not whole.
    """
    settings = load_settings(state=state)
    where = State.at(settings.state)
    url = _mongo_url(settings, where)
    file = where.directory("broker") / "sessions" / "sessions.db" if sessions else None
    try:
        with _bar(count_documents(url, settings.mongo_database), quiet=as_json) as told:
            made = create(
                backup,
                mongo_url=url,
                database=settings.mongo_database,
                state=None if no_keys else where,
                sessions=file,
                told=told,
            )
    except PyMongoError as error:
        fail(f"MongoDB does not answer: {type(error).__name__}")
    except BackupFailed as error:
        fail(str(error))
    _show(made, f"a backup of {made.database} as of {made.made_at} is in {backup}", as_json=as_json)


@app.command("verify")
def verify_command(backup: BackupArgument, as_json: JsonOption = False) -> None:
    """Read all of a backup, and compare it with its manifest. Exit code 1 at the first difference."""
    try:
        sizes = {entry.path: entry.size for entry in Manifest.read(backup).files}
        with _bar(sizes, quiet=as_json) as told:
            found = verify(backup, told)
    except (BackupDamaged, OSError) as error:
        fail(f"{backup}: {error}")
    _show(found, f"{backup} is whole: {found.database} as of {found.made_at}", as_json=as_json)


@app.command("restore")
def restore_command(
    backup: BackupArgument,
    state: StateOption = None,
    replace_everything: Annotated[
        bool, typer.Option("--replace-everything", help="Throw away the database and the keys that are there.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a backup into the state directory of a stack that does not run; then start it with `pabal up`.

    With PABAL_MONGO_URL its data go into that database instead. It is verified first, and refused where anything is already. What was written
    after the backup was made is gone; apps that are ahead of it are told to read their chats anew.
    """
    settings = load_settings(state=state)
    where = State.at(settings.state)
    try:
        counts = {entry.name: entry.documents for entry in Manifest.read(backup).collections}
        where.create()
        with lock.hold(where.lock), _bar(counts, quiet=as_json) as told:
            put = restore(
                backup,
                state=where,
                mongo_url=settings.mongo_url,
                database=settings.mongo_database,
                replace=replace_everything,
                told=told,
            )
    except (AlreadyRunning, BackupDamaged, BinaryMissing, RestoreRefused, OSError) as error:
        fail(str(error))
    except PyMongoError as error:
        fail(f"MongoDB failed half way, nothing runs on what is there: {type(error).__name__}")
    _show(put, f"{put.database} as of {put.made_at} is in {where.root}: start it with `pabal up`", as_json=as_json)


def _mongo_url(settings: StackSettings, where: State) -> str:
    found = where.read_stack() if lock.holder(where.lock) is not None else None
    url = found["mongo_url"] if found is not None else settings.mongo_url
    if url is None:
        fail(f"nothing runs on {where.root}: start it with `pabal up`, or name a database with PABAL_MONGO_URL")
    return url


def _show(manifest: Manifest, text: str, *, as_json: bool) -> None:
    if as_json:
        told = asdict(manifest)
        told["collections"] = {entry.name: entry.documents for entry in manifest.collections}
        del told["files"]
        print_json({**told, "bytes": sum(entry.size for entry in manifest.files)})
        return
    documents = sum(entry.documents for entry in manifest.collections)
    megabytes = sum(entry.size for entry in manifest.files) / 1e6
    typer.echo(f"{text} ({documents} documents of {len(manifest.collections)} collections, {megabytes:.1f} MB)")


@contextmanager
def _bar(totals: Mapping[str, int], *, quiet: bool) -> Iterator[Told]:
    """A line on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=sum(totals.values()))

        def told(what: str, count: int) -> None:
            progress.update(task, description=what, advance=count)

        yield told
