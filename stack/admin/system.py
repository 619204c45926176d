"""`pabal admin stats`, `health`, `settings` and `audit …`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from stack.admin.command import JsonOption, LimitOption, StateOption, table, time
from stack.api_client import Api
from stack.command import fail, print_json

audit = typer.Typer(help="The audit log: search it, verify it.", no_args_is_help=True, rich_markup_mode=None)

SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help="2026-06-01T00:00:00Z or later.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before that time.")]


def stats(
    by: Annotated[Literal["hour", "day"], typer.Option("--by", help="Per hour or per day (UTC).")] = "hour",
    since: SinceOption = None,
    until: UntilOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show messages, active users, deliveries and latencies: of the last 24 hours, or 30 days, unless you say otherwise.

    Latencies are upper bounds in milliseconds. What is not over yet has a `*`.
    """
    found = Api(state).ask("GET", "statistics", query={"by": by, "since": since, "until": until})
    if as_json:
        print_json(found)
        return
    names = ("messages", "active_users", "deliveries", "p50_ms", "p95_ms", "p99_ms")
    width = 16 if by == "hour" else 10
    rows = (
        [time(row["begin"])[:width] + ("" if row["complete"] else " *"), *(row[name] for name in names)]
        for row in found["items"]
    )
    table((by, "messages", "users", "deliveries", "p50", "p95", "p99"), rows)
    typer.echo(f"counted until {time(found['counted_until'])}")


def health(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show every process with its parts. Exit code 1 if something is not well."""
    found = Api(state).ask("GET", "health")
    if as_json:
        print_json(found)
    else:
        table(("process", "well", "parts"), ((row["name"], row["well"], _parts(row)) for row in found["processes"]))
    raise typer.Exit(0 if found["well"] else 1)


def settings(
    process: Annotated[str | None, typer.Argument(metavar="[PROCESS]", help="This one only.")] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the settings in force of every process, without secrets. With --json: an object per process."""
    found = Api(state).ask("GET", "settings")["processes"]
    rows = [row for row in found if process in (None, row["name"])]
    if not rows:
        fail(f"there is no process {process}; there are {', '.join(row['name'] for row in found)}")
    if as_json:
        print_json({row["name"]: row["settings"] if row["answers"] else None for row in rows})
        return
    for row in rows:
        typer.echo(row["name"] if row["answers"] else f"{row['name']} does not answer")
        table(("setting", "value"), row["settings"].items())


@audit.command("list")
def list_(
    by: Annotated[str | None, typer.Option("--by", metavar="USER", help="What they did.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="ID", help="What was done to it.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="WORD", help="`user.banned`, or all of a kind: `user.`")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 50,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who did what, when, from where and why, newest first. With --json: a list of objects."""
    query = {"by": by, "target": target, "action": action, "since": since, "until": until}
    rows, more = Api(state).items("audit", limit, query)
    if as_json:
        print_json(rows)
        return
    made = (
        (
            row["seq"],
            time(row["at"]),
            row["by"],
            row["action"],
            row["target"],
            row["reason"],
            row["address"],
            _details(row),
        )
        for row in rows
    )
    table(("no.", "at", "by", "what", "whom", "why", "from", "more"), made, more=more)


@audit.command()
def verify(
    anchor: Annotated[
        str | None, typer.Option("--anchor", metavar="SEQ:HASH", help="What the last verification has printed.")
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute the chain anew and compare it with what is stored. Exit code 1 if a record was changed, removed or put in.

    Keep the anchor that it prints somewhere else: with it the next verification notices also that the whole log was written anew.
    """
    api, total = Api(state), 0
    seq, colon, known = (anchor or "").partition(":")
    if anchor is not None and not (colon and seq.isdecimal()):
        fail("an anchor is SEQ:HASH, as `pabal admin audit verify` prints it")
    query: dict[str, Any] = {} if anchor is None else {"seq": seq, "hash": known}
    faults: list[dict[str, Any]] = []
    while True:
        piece = api.ask("GET", "audit/verification", query=query)
        faults += piece["faults"]
        total += piece["checked"]
        query = {"seq": piece["seq"], "hash": piece["hash"]}
        if piece["complete"]:
            break
    end = f"{piece['seq']}:{piece['hash']}"
    if as_json:
        print_json({"whole": not faults, "checked": total, "faults": faults, "anchor": end})
    else:
        for wrong in faults:
            typer.echo(f"record {wrong['seq']}: {wrong['what'].replace('_', ' ')}")
        typer.echo(f"{total} records, {'not whole' if faults else 'whole'}; anchor {end}")
    raise typer.Exit(1 if faults else 0)


def _parts(row: dict[str, Any]) -> str:
    if not row["answers"]:
        return "does not answer"
    return ", ".join(name if well else f"{name} NOT WELL" for name, well in row["parts"].items())


def _details(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row["details"].items())
