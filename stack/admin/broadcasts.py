"""`pabal admin broadcasts …`."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

import typer

from stack.admin.command import (
    JsonOption,
    LimitOption,
    ReasonOption,
    StateOption,
    YesOption,
    confirm,
    pairs,
    table,
    time,
)
from stack.api_client import Api, named
from stack.command import print_json

app = typer.Typer(help="Tell everybody, or some chats.", no_args_is_help=True, rich_markup_mode=None)

BroadcastArgument = Annotated[str, typer.Argument(metavar="BROADCAST", help="Its id.")]


@app.command()
def send(
    text: Annotated[str, typer.Argument(metavar="TEXT")],
    reason: ReasonOption,
    chat: Annotated[
        list[str] | None, typer.Option("--chat", metavar="CHAT", help="Into this chat; may be said several times.")
    ] = None,
    broadcast: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="Said again with the same id, nothing is told twice.")
    ] = None,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell every user, on their inbox, or every member of some chats. The workers do it; `show` says how far they are."""
    confirm(f"tell {len(chat)} chats" if chat else "tell every user", yes=yes)
    body = {"id": broadcast or str(uuid.uuid4()), "text": text, "chats": chat or [], "reason": reason}
    _show(Api(state).ask("POST", "broadcasts", body=body), as_json=as_json)


@app.command("list")
def list_(limit: LimitOption = 20, state: StateOption = None, as_json: JsonOption = False) -> None:
    """List them, newest first, with how far they have come. With --json: a list of objects."""
    rows, more = Api(state).items("broadcasts", limit)
    if as_json:
        print_json(rows)
        return
    made = (
        (row["id"], time(row["at"]), row["by"], row["state"], f"{row['told']} of {row['total']}", row["text"])
        for row in rows
    )
    table(("id", "at", "by", "state", "told", "text"), made, more=more)


@app.command()
def show(broadcast: BroadcastArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show one. Exit code 1 if there is none of that id."""
    _show(Api(state).ask("GET", named("broadcasts", broadcast)), as_json=as_json)


@app.command()
def stop(
    broadcast: BroadcastArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell nobody else. Who has been told, has been."""
    confirm(f"stop {broadcast}", yes=yes)
    _show(Api(state).ask("DELETE", named("broadcasts", broadcast), query={"reason": reason}), as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    pairs((name, time(value) if name in ("at", "ended_at") else value) for name, value in found.items())
