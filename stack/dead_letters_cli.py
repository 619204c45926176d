"""`pabal dead-letters …`: messages that could not be processed, of a running stack, through its API as its administrator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from stack import credentials
from stack.command import JsonOption, StateOption, fail, print_json, running

SECONDS = 20.0
"""How long an answer may take: a replay waits until its message is stored."""

PAGE = 200
WIDE = 400

app = typer.Typer(
    help="Messages that could not be processed: look at them, send them again, throw them away.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LetterArgument = Annotated[str, typer.Argument(metavar="ID", help="As `pabal dead-letters list` shows it.")]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option("-n", "--limit", metavar="N", min=1, help="Show so many at most.")] = 100,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """List them by id, without what people wrote.

    With --json: a list of objects.
    """
    rows, more = _Api(state).items(limit)
    if as_json:
        print_json(rows)
        return
    columns = [Column(name, no_wrap=True) for name in ("id", "chat", "parked")]
    table = Table(*columns, "tries", "bytes", "reason", "replayed", box=None, pad_edge=False)
    for row in rows:
        replays = sum(line["what"] == "replayed" for line in row["history"])
        words = (row["id"], row["chat"] or "-", _time(row["at"]), str(row["tries"]), str(row["size"]), row["reason"])
        table.add_row(*map(escape, words), str(replays) if row["replayable"] else "no message")
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
    found = _Api(state).ask("GET", _path(letter))
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
def replay(letter: LetterArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Send one again as its sender, through the whole path.

    It keeps its message id, so it is stored once however often it is sent, and it is dropped once it is stored. Exit code 1 if it
    was refused again: then it stays, and `show` says why.
    """
    done = _Api(state).ask("POST", _path(letter) + "/replay")
    if as_json:
        print_json(done)
        return
    typer.echo(f"{letter}: stored as message {done['seq']} of {done['chat']}; the letter is gone")


@app.command()
def drop(letter: LetterArgument, state: StateOption = None, as_json: JsonOption = False) -> None:
    """Throw one away for good. Exit code 1 if there is none of that id."""
    _Api(state).ask("DELETE", _path(letter))
    if as_json:
        print_json({"id": letter, "dropped": True})
        return
    typer.echo(f"{letter}: dropped")


class _Api:
    """The API of a running stack, signed in as its administrator."""

    def __init__(self, state: Path | None) -> None:
        found, where = running(state)
        self._base = found["api"]
        try:
            admin = credentials.read(where.credentials)["admin"]
        except (OSError, ValueError, LookupError) as error:
            fail(f"the administrator in {where.credentials} can't be read: {type(error).__name__}")
        form = {"grant_type": "password", "username": admin["handle"], "password": admin["password"]}
        self._headers: dict[str, str] = {}
        token = self._request("POST", "/v1/auth/token", data=form)
        self._headers = {"Authorization": f"Bearer {token['access_token']}"}

    def ask(self, method: str, path: str, **query: str) -> Any:
        """One request; the command ends if it fails."""
        return self._request(method, f"/v1/admin/dead-letters{path}", params=query)

    def items(self, limit: int) -> tuple[list[dict[str, Any]], bool]:
        """Up to `limit` letters, page by page, and whether there are more."""
        found: list[dict[str, Any]] = []
        query = {"limit": str(min(limit, PAGE))}
        while True:
            page = self.ask("GET", "", **query)
            found += page["items"]
            if page["next"] is None or len(found) >= limit:
                return found[:limit], page["next"] is not None or len(found) > limit
            query["cursor"] = page["next"]

    def _request(self, method: str, path: str, **request: Any) -> Any:
        url = self._base + path
        try:
            answer = httpx.request(method, url, headers=self._headers, timeout=SECONDS, trust_env=False, **request)
        except httpx.HTTPError as error:
            fail(f"the API does not answer at {self._base}: {type(error).__name__}")
        try:
            body = answer.json() if answer.content else None
        except json.JSONDecodeError:
            fail(f"{url} answers {answer.status_code}, and no JSON")
        if not answer.is_success:
            told = body if isinstance(body, dict) else {}
            fail(f"{told.get('detail', f'{url} answers {answer.status_code}')} ({told.get('code', 'no code')})")
        return body


def _path(letter: str) -> str:
    return f"/{quote(letter, safe='')}"


def _time(text: str) -> str:
    """`2026-05-04 03:02:01`, UTC."""
    return text[:19].replace("T", " ")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)  # whoever reads it from a pipe wants ids whole
