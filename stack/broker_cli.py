"""`pabal broker …`: look into the broker of a running stack, through its admin interface."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from stack.command import JsonOption, StateOption, fail, print_json, running

SECONDS = 10.0
"""How long an answer may take: a list of a hundred thousand sessions needs a small part of it."""
PAGE = 500
WIDE = 400

app = typer.Typer(
    help="Look into the broker: who is connected, what they subscribe to, and out with them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

ClientArgument = Annotated[str, typer.Argument(metavar="CLIENT_ID", help="As `pabal broker clients` shows it.")]
LimitOption = Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, help="Show so many at most.")]


@app.command()
def clients(
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Client ids that begin so.")] = "",
    away: Annotated[bool, typer.Option("--away", help="Sessions whose client is away instead.")] = False,
    limit: LimitOption = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List who is connected, in the order of their client ids.

    With --json: a list of objects. Times are seconds.
    """
    query = {"prefix": prefix, "state": "away" if away else "connected"}
    rows, more = _Admin(state).items("clients", query, limit)
    if as_json:
        print_json(rows)
        return
    ids = [Column(name, no_wrap=True) for name in ("client id", "principal", "address")]
    table = Table(*ids, "MQTT", "since", "subs", "inflight", "queued", box=None, pad_edge=False)
    for row in rows:
        since = "-" if row["connected_seconds"] is None else _duration(row["connected_seconds"])
        numbers = [str(row[name]) for name in ("subscriptions", "inflight", "queued")]
        words = (row["client_id"], row["principal"], row["address"] or "away", row["version"], since, *numbers)
        table.add_row(*map(escape, words))
    _show(table, len(rows), more=more)


@app.command()
def client(client_id: ClientArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show one client: its connection, its windows, its subscriptions.

    Exit code 1 if the broker has no session of that client id.
    """
    found = _Admin(state).ask("GET", _path(client_id))
    if as_json:
        print_json(found)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in found.items():
        if name not in ("filters", "connection"):
            table.add_row(name.replace("_", " "), escape(_word(value)))
    for name, value in (found["connection"] or {}).items():
        table.add_row(name.replace("_", " "), escape(_word(value)))
    Console().print(table)
    _show(_filters(found["filters"]), len(found["filters"]), more=False)


@app.command()
def kick(
    client_id: ClientArgument,
    drop_session: Annotated[
        bool, typer.Option("--drop-session", help="Forget its subscriptions and what waits for it, too.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Disconnect a client. It may come back at once: to keep somebody out, end their sign-in or membership.

    Exit code 1 if the broker has no session of that client id.
    """
    query = {"session": "drop" if drop_session else "keep"}
    done = _Admin(state).ask("DELETE", _path(client_id), query)
    if as_json:
        print_json(done)
        return
    said = "disconnected" if done["disconnected"] else "was not connected"
    typer.echo(f"{client_id}: {said}; its session is {'kept' if done['session_kept'] else 'gone'}")


@app.command()
def subscriptions(
    topic_filter: Annotated[str | None, typer.Option("--filter", metavar="FILTER", help="This filter only.")] = None,
    client_id: Annotated[str | None, typer.Option("--client", metavar="CLIENT_ID", help="This client's only.")] = None,
    limit: LimitOption = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List subscriptions, by client id and filter.

    With --json: a list of objects.
    """
    given = {"filter": topic_filter, "client": client_id}
    query = {name: value for name, value in given.items() if value is not None}
    rows, more = _Admin(state).items("subscriptions", query, limit)
    if as_json:
        print_json(rows)
        return
    _show(_filters(rows), len(rows), more=more)


class _Admin:
    """The admin interface of a running stack's broker."""

    def __init__(self, state: Path | None) -> None:
        found, where = running(state)
        self._base = found["metrics"]["broker"].removesuffix("/metrics") + "/admin/"
        try:
            secret = where.broker_admin.read_text().strip()
        except OSError as error:
            fail(f"the admin secret {where.broker_admin} can't be read ({type(error).__name__}): start the stack anew")
        self._headers = {"Authorization": f"Bearer {secret}"}

    def ask(self, method: str, path: str, query: dict[str, str] | None = None) -> Any:
        """One request; the command ends if it fails."""
        url = self._base + path
        try:
            answer = httpx.request(method, url, params=query, headers=self._headers, timeout=SECONDS, trust_env=False)
        except httpx.HTTPError as error:
            fail(f"the broker does not answer at {self._base}: {type(error).__name__}")
        try:
            body = answer.json()
        except json.JSONDecodeError:
            fail(f"{url} answers {answer.status_code}, and no JSON")
        if not answer.is_success:
            fail(str(body.get("detail", f"{url} answers {answer.status_code}")))
        return body

    def items(self, path: str, query: dict[str, str], limit: int) -> tuple[list[dict[str, Any]], bool]:
        """Up to `limit` items of a list, page by page, and whether there are more."""
        found: list[dict[str, Any]] = []
        for page in self._pages(path, query, limit):
            found += page["items"]
            if page["next"] is None or len(found) >= limit:
                return found[:limit], page["next"] is not None or len(found) > limit
        return found, False

    def _pages(self, path: str, query: dict[str, str], limit: int) -> Iterator[Any]:
        query = {**query, "limit": str(min(limit, PAGE))}
        while True:
            page = self.ask("GET", path, query)
            yield page
            query["cursor"] = page["next"]


def _path(client_id: str) -> str:
    return f"clients/{quote(client_id, safe='')}"


def _filters(rows: list[dict[str, Any]]) -> Table:
    named = any("client_id" in row for row in rows)
    table = Table(
        *([Column("client id", no_wrap=True)] if named else []),
        Column("filter", overflow="fold"),
        "QoS",
        "options",
        box=None,
        pad_edge=False,
    )
    for row in rows:
        options = [name.replace("_", " ") for name in ("no_local", "retain_as_published") if row[name]]
        options += [f"id {number}" for number in row["identifiers"]]
        words = [row["filter"], str(row["qos"]), ", ".join(options)]
        table.add_row(*map(escape, [row["client_id"], *words] if named else words))
    return table


def _show(table: Table, count: int, *, more: bool) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)  # whoever reads it from a pipe wants ids whole
    if count:
        console.print(table)
    console.print(f"{count} shown, there are more: --limit N" if more else f"{count} in all", highlight=False)


def _word(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _duration(seconds: float) -> str:
    """`42 s`, `3 min`, `5 h`, `2 d`: about, for people."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
