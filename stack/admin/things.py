"""`pabal admin chats`, `devices`, `connections` and `messages`."""

from __future__ import annotations

from typing import Annotated, Literal

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

chats = typer.Typer(help="Chats: find them, see who is in them.", no_args_is_help=True, rich_markup_mode=None)
devices = typer.Typer(help="Devices: find them.", no_args_is_help=True, rich_markup_mode=None)
connections = typer.Typer(help="Live connections: see them, cut them.", no_args_is_help=True, rich_markup_mode=None)
messages = typer.Typer(help="Messages: take them down.", no_args_is_help=True, rich_markup_mode=None)

TextArgument = Annotated[str | None, typer.Argument(metavar="[TEXT]", help="Ids that begin so, names that hold it.")]
ChatArgument = Annotated[str, typer.Argument(metavar="CHAT")]


@chats.command("list")
def list_chats(
    text: TextArgument = None,
    kind: Annotated[Literal["direct", "group", "channel"] | None, typer.Option("--kind", help="Only those.")] = None,
    member: Annotated[str | None, typer.Option("--member", metavar="USER", help="Those that they are in now.")] = None,
    limit: LimitOption = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find chats, by id. With --json: a list of objects."""
    rows, more = Api(state).items("chats", limit, {"text": text, "kind": kind, "member": member})
    if as_json:
        print_json(rows)
        return
    names = ("id", "kind", "title", "created_by", "last_seq")
    made = ([*(row[name] for name in names), time(row["last_at"])] for row in rows)
    table(("id", "kind", "title", "made by", "events", "last"), made, more=more)


@chats.command("show")
def show_chat(chat: ChatArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show one, without what is said in it. Exit code 1 if there is none of that id."""
    found = Api(state).ask("GET", named("chats", chat))
    if as_json:
        print_json(found)
        return
    pairs((name, time(value) if name.endswith("_at") else value) for name, value in found.items())


@chats.command("members")
def members(
    chat: ChatArgument, limit: LimitOption = 100, state: StateOption = None, as_json: JsonOption = False
) -> None:
    """List who is in one. With --json: a list of objects."""
    rows, more = Api(state).items(named("chats", chat, "members"), limit)
    if as_json:
        print_json(rows)
        return
    table(("user", "role", "since"), ((row["user"], row["role"], time(row["joined_at"])) for row in rows), more=more)


@devices.command("list")
def list_devices(
    text: TextArgument = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="USER", help="Theirs only.")] = None,
    limit: LimitOption = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find devices, by id. With --json: a list of objects."""
    rows, more = Api(state).items("devices", limit, {"text": text, "owner": owner})
    if as_json:
        print_json(rows)
        return
    made = ((row["id"], row["name"], row["owner"], not row["disabled"], time(row["created_at"])) for row in rows)
    table(("id", "name", "owner", "on", "since"), made, more=more)


@devices.command("show")
def show_device(
    device: Annotated[str, typer.Argument(metavar="DEVICE")], state: StateOption = None, as_json: JsonOption = False
) -> None:
    """Show one. Exit code 1 if there is none of that id."""
    found = Api(state).ask("GET", named("devices", device))
    if as_json:
        print_json(found)
        return
    pairs((name, time(value) if name.endswith("_at") else value) for name, value in found.items())


ClientArgument = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="As `pabal admin connections list` shows it.")]


@connections.command("list")
def list_connections(
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Client ids that begin so.")] = "",
    away: Annotated[bool, typer.Option("--away", help="Sessions whose client is away instead.")] = False,
    limit: LimitOption = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who is connected, by client id. With --json: a list of objects."""
    rows, more = Api(state).items("connections", limit, {"prefix": prefix, "state": "away" if away else "connected"})
    if as_json:
        print_json(rows)
        return
    names = ("client_id", "principal", "address", "version", "subscriptions", "inflight", "queued")
    made = ([*(row[name] for name in names), time(row["connected_at"])] for row in rows)
    table(("client id", "principal", "address", "MQTT", "subs", "inflight", "queued", "since"), made, more=more)


@connections.command("show")
def show_connection(client: ClientArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show one, with its subscriptions. Exit code 1 if the broker has no session of that client id."""
    found = Api(state).ask("GET", named("connections", client))
    if as_json:
        print_json(found)
        return
    pairs(found.items())


@connections.command("cut")
def cut(
    client: ClientArgument,
    reason: ReasonOption,
    drop_session: Annotated[
        bool, typer.Option("--drop-session", help="Forget its subscriptions and what waits for it, too.")
    ] = False,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Disconnect a client. It may come back at once: who is to stay out is suspended."""
    confirm(f"disconnect {client}", yes=yes)
    query = {"reason": reason, "session": "drop" if drop_session else "keep"}
    done = Api(state).ask("DELETE", named("connections", client), query=query)
    if as_json:
        print_json(done)
        return
    said = "disconnected" if done["disconnected"] else "was not connected"
    typer.echo(f"{client}: {said}; its session is {'kept' if done['session_kept'] else 'gone'}")


@messages.command("delete")
def delete(
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="Its id.")],
    reason: ReasonOption,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a message for everyone, whoever sent it and wherever. Its chat is told, as of every deletion."""
    confirm(f"delete {message} for everyone", yes=yes)
    done = Api(state).ask("DELETE", named("messages", message), query={"reason": reason})
    if as_json:
        print_json(done)
        return
    typer.echo(f"{message}: deleted by event {done['seq']} of {done['chat']}")
