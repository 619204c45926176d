"""The `pabal` command."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Annotated

import psutil
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stack import doctor as examination
from stack import lock, logs, processes, replica_set, up
from stack.admin.cli import app as admin_app
from stack.backup.cli import app as backup_app
from stack.broker_cli import app as broker_app
from stack.command import JsonOption, StateOption, fail, load_settings, print_json, running
from stack.dead_letters_cli import app as dead_letters_app
from stack.display import TerminalConsole
from stack.keeper import StackFailed
from stack.keys_cli import app as keys_app
from stack.lock import AlreadyRunning
from stack.ports import BadPortBase
from stack.servers import BinaryMissing
from stack.state import State, node_addresses

HELP = """
Run and look after a whole Pabal on this machine: mongod, Valkey, the MQTT broker, the bridge, the API, the worker.

\b
    pabal up                 start everything; Ctrl-C ends it
    pabal demo               watch two people, a group and a thermometer talk to each other
    pabal doctor             what is wrong, and what to do about it
    pabal broker clients     who is connected
    pabal admin --help       users, chats, statistics, the audit log
    pabal dead-letters list  which messages could not be processed
    pabal backup create DIR  copy everything, while it runs
    pabal keys rotate        a new key for access tokens, without logging anyone out

Everything that it writes lies in one directory (./var, --state DIR): data, keys, passwords (credentials.json), what runs
where (stack.json), logs. A second stack runs beside the first with another directory and other ports:

\b
    pabal up --state /tmp/second --port-base 21000

Ports and more are environment variables too (PABAL_BROKER_TCP=0.0.0.0:1883 lets phones in); flags win over them.
"""

app = typer.Typer(
    help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


app.add_typer(admin_app, name="admin")
app.add_typer(backup_app, name="backup")
app.add_typer(broker_app, name="broker")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(keys_app, name="keys")


def main() -> None:
    """Entry point."""
    app(prog_name="pabal")


@app.command("up")
def up_command(
    state: StateOption = None,
    port_base: Annotated[
        int | None,
        typer.Option(
            "--port-base", metavar="N", help="Listen on N to N+12 instead of the default ports. [PABAL_PORT_BASE]"
        ),
    ] = None,
    mongo_nodes: Annotated[
        int | None,
        typer.Option(
            "--mongo-nodes",
            metavar="1|3",
            help="Three mongods instead of one: one of them may die or freeze. [PABAL_MONGO_NODES]",
        ),
    ] = None,
    no_fcm: Annotated[
        bool, typer.Option("--no-fcm", help="No FCM emulator: pushes go where PABAL_FCM_* of your environment says.")
    ] = False,
) -> None:
    """Start everything, keep it running, end it on Ctrl-C or SIGTERM.

    What dies is started again, after 0.2 s at first and 10 s at most. `stack.json` appears once everything is healthy. The
    second start finds the data of the first. Exit code 0 after an ordinary end, 1 when it could not start.
    """
    settings = load_settings(state=state, port_base=port_base, mongo_nodes=mongo_nodes, fcm=False if no_fcm else None)
    try:
        up.run(settings, TerminalConsole())
    except (AlreadyRunning, BadPortBase, BinaryMissing, StackFailed, up.PortsBusy) as error:
        fail(str(error))


@app.command()
def demo(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Run the story against a running stack, and show it as it happens.

    Two people, a group of five, a thermometer, a phone that was away, an outsider. Exit code 1 if any step is not as expected.
    """
    _, found_state = running(state)
    argv = [
        sys.executable,
        "-m",
        "clients.demo",
        "--stack",
        str(found_state.stack_file),
        *(["--json"] if as_json else []),
    ]
    code = subprocess.run(argv, cwd=processes.REPOSITORY, check=False).returncode  # noqa: S603 -- our own program
    raise typer.Exit(code if code >= 0 else 128 - code)


@app.command()
def doctor(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Check each part: the machine, the files, the servers, a sign-in, a connection.

    Says what to do about what is wrong. Exit code 1 if anything is, and also if nothing runs.
    """
    console = Console()
    checks = []
    for check in examination.examine(load_settings(state=state)):
        checks.append(check)
        if not as_json:
            mark = "[green]✔[/]" if check.ok else "[bold red]✘[/]"
            console.print(f"{mark} {check.name:<18} {escape(check.detail)}", highlight=False, soft_wrap=True)
            if check.advice:
                console.print(f"  [yellow]→ {escape(check.advice)}[/]", highlight=False, soft_wrap=True)
    fine = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": fine, "checks": [{**asdict(check), "ok": check.ok} for check in checks]})
    raise typer.Exit(0 if fine else 1)


@app.command()
def status(state: StateOption = None, as_json: JsonOption = False) -> None:
    """Show what runs where. Exit code 1 if nothing does."""
    found, _ = running(state)
    if as_json:
        print_json(found)
        return
    table = Table("process", "pid", "memory", "cpu", "since", box=None, pad_edge=False)
    for name, pid in found["processes"].items():
        table.add_row(name, str(pid), *_usage(pid))
    console = Console()
    console.print(table)
    if found["mongo_nodes"]:
        nodes = [f"{one.host} {one.state.lower()}" for one in replica_set.members(node_addresses(found))]
        console.print(f"\nMongoDB {', '.join(nodes) or 'does not answer'}", highlight=False, soft_wrap=True)
    addresses = {
        "MQTT": f"{found['mqtt_host']}:{found['mqtt_port']}",
        "WebSocket": found["ws_url"],
        **up.secure_rows(found),
        "API": found["api"],
    }
    console.print("\n" + "   ".join(f"{name} {where}" for name, where in addresses.items()), soft_wrap=True)


@app.command()
def down(
    state: StateOption = None,
    seconds: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for it.")] = 90.0,
) -> None:
    """Ask a running stack to end, and wait until it has."""
    where = State.at(load_settings(state=state).state)
    pid = lock.holder(where.lock)
    if pid is None:
        typer.echo(f"nothing runs on {where.root}")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while lock.holder(where.lock) is not None:
        if time.monotonic() > deadline:
            fail(f"it (pid {pid}) has not ended after {seconds:g} s; `kill -9 {pid}` ends it and all of its processes")
        time.sleep(0.1)
    typer.echo(f"the stack on {where.root} has ended")


@app.command("logs")
def logs_command(
    name: Annotated[
        str, typer.Argument(help="mongod, mongod1, mongod2, valkey, fcm, bootstrap, broker, bridge, api or worker.")
    ],
    state: StateOption = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", help="So many of the last lines.")] = 50,
) -> None:
    """Show what a process has said. The files are in the state directory, log/NAME.log."""
    where = State.at(load_settings(state=state).state)
    path = where.log(name)
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in where.directory("log").glob("*.log"))) or "none yet"
        fail(f"there is no {path}; logs there are: {there}")
    try:
        for line in logs.tail(path, lines):
            typer.echo(line)
        if follow:
            for text in logs.follow(path):
                typer.echo(text, nl=False)
    except (KeyboardInterrupt, BrokenPipeError):
        raise typer.Exit(0) from None


@app.command()
def version() -> None:
    """Say which Pabal this is, and where it lies."""
    typer.echo(f"pabal {importlib.metadata.version('pabal')} ({processes.REPOSITORY})")


def _usage(pid: int) -> tuple[str, str, str]:
    """Memory (resident), processor time and start of one process."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            since = time.strftime("%H:%M:%S", time.localtime(process.create_time()))
            return f"{process.memory_info().rss / 1e6:.0f} MB", f"{times.user + times.system:.1f} s", since
    except psutil.NoSuchProcess:
        return "gone", "", ""
