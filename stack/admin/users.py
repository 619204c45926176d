"""`pabal admin users …`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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

app = typer.Typer(
    help="Users: find, suspend, ban, let in, shadow-ban, sign out, promote.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The handle.")]
UntilOption = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="It ends by itself then: 2026-06-01T00:00:00Z. Without: when lifted."),
]


@app.command("list")
def list_(
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="Handles that begin so, names that hold it.")
    ] = None,
    status: Annotated[
        Literal["active", "disabled", "suspended", "banned"] | None, typer.Option("--status", help="Only those.")
    ] = None,
    staff: Annotated[bool, typer.Option("--staff", help="Moderators and administrators only.")] = False,
    shadowed: Annotated[bool, typer.Option("--shadowed", help="Only who is shadow-banned.")] = False,
    limit: LimitOption = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find users, by handle. With --json: a list of objects."""
    query = {"text": text, "state": status, "staff": staff or None, "shadowed": shadowed or None}
    rows, more = Api(state).items("users", limit, query)
    if as_json:
        print_json(rows)
        return
    table(
        ("handle", "name", "rank", "state", "until", "shadowed", "since"),
        (
            (
                row["id"],
                row["display_name"],
                row["rank"],
                row["state"],
                time(row["block"].get("until")) if row["block"] else "-",
                row["shadowed"],
                time(row["created_at"]),
            )
            for row in rows
        ),
        more=more,
    )


@app.command()
def show(user: UserArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show one, with their devices. Exit code 1 if there is none of that handle."""
    _show(Api(state).ask("GET", named("users", user)), as_json=as_json)


@app.command()
def suspend(
    user: UserArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep somebody out for a while, with their devices: signed out, disconnected, refused, everywhere and at once."""
    confirm(f"suspend {user} {_until(until)}", yes=yes)
    _change("PUT", user, "suspension", {"reason": reason, "until": until}, state, as_json=as_json)


@app.command()
def ban(
    user: UserArgument,
    reason: ReasonOption,
    until: UntilOption = None,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """As suspend, but no moderator can lift it."""
    confirm(f"ban {user} {_until(until)}", yes=yes)
    _change("PUT", user, "ban", {"reason": reason, "until": until}, state, as_json=as_json)


@app.command("let-in")
def let_in(user: UserArgument, reason: ReasonOption, state: StateOption = None, as_json: JsonOption = False) -> None:
    """End a suspension or ban. They have to sign in again."""
    _take_back(user, "block", reason, state, as_json=as_json)


@app.command()
def shadow(
    user: UserArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let nobody but themselves see what they send from now on."""
    confirm(f"shadow-ban {user}", yes=yes)
    _change("PUT", user, "shadow", {"reason": reason}, state, as_json=as_json)


@app.command()
def unshadow(user: UserArgument, reason: ReasonOption, state: StateOption = None, as_json: JsonOption = False) -> None:
    """End a shadow ban. What was sent meanwhile stays hidden."""
    _take_back(user, "shadow", reason, state, as_json=as_json)


@app.command("sign-out")
def sign_out(
    user: UserArgument,
    reason: ReasonOption,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """End every sign-in of somebody. They may sign in again."""
    confirm(f"sign {user} out everywhere", yes=yes)
    _take_back(user, "sign-ins", reason, state, as_json=as_json)


@app.command()
def rank(
    user: UserArgument,
    to: Annotated[Literal["user", "moderator", "admin"], typer.Argument(help="What they are from now on.")],
    reason: ReasonOption,
    yes: YesOption = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make somebody a moderator or administrator, or neither. They are signed out."""
    confirm(f"make {user} {to}", yes=yes)
    _change("PUT", user, "rank", {"rank": to, "reason": reason}, state, as_json=as_json)


def _until(until: str | None) -> str:
    return f"until {until}" if until else "until it is lifted"


def _change(method: str, user: str, what: str, body: dict[str, Any], state: Path | None, *, as_json: bool) -> None:
    _show(Api(state).ask(method, named("users", user, what), body=body), as_json=as_json)


def _take_back(user: str, what: str, reason: str, state: Path | None, *, as_json: bool) -> None:
    _show(Api(state).ask("DELETE", named("users", user, what), query={"reason": reason}), as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    block = found["block"] or {}
    names = ("id", "display_name", "rank", "state", "shadowed", "chats")
    rows = [(name, found[name]) for name in names]
    rows.append(("since", time(found["created_at"])))
    if block:
        rows.append((block["kind"], f"{time(block['at'])} by {block['by']}: {block['reason']}"))
        rows.append(("until", time(block.get("until"))))
    rows += [("device", f"{one['id']} {one['name']}{' (off)' if one['disabled'] else ''}") for one in found["devices"]]
    pairs(rows)
