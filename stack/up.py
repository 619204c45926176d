"""`pabal up`: everything that comes before and after the supervisor."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from stack import credentials, lock, ports, probes, processes, replica_set
from stack.display import Display, summary
from stack.keeper import StackFailed
from stack.ports import Address
from stack.processes import Plan
from stack.settings import StackSettings
from stack.state import SecureFile, StackFile, State, write_stack
from stack.supervisor import Supervisor

RELEASE_SECONDS = 5.0
"""How long the children of a supervisor that was killed may take to die and release their ports."""


class PortsBusy(Exception):
    """Somebody else listens where the stack wants to."""


def run(settings: StackSettings, console: Console) -> None:
    """Run a stack until it is asked to end.

    Raises:
        AlreadyRunning, PortsBusy, BadPortBase, BinaryMissing, StackFailed: it does not come up; the text says what to do.
    """
    state = State.at(settings.state)
    plan = processes.plan(settings, state)
    _check_nodes(settings, state)
    state.create()
    with lock.hold(state.lock):
        if state.restoring.exists():
            raise StackFailed(
                f"a backup was put into {state.root} half way: `pabal backup restore … --replace-everything` once more"
            )
        left = state.stack_file.exists()  # by a supervisor that was killed
        state.stack_file.unlink(missing_ok=True)
        check_ports(plan.binds, plan.ports(), patience=RELEASE_SECONDS if left else 0.0)
        _check_external(plan, settings)
        credentials.ensure(state.credentials)
        credentials.ensure_secret(state.broker_admin)
        try:
            asyncio.run(_supervise(plan, state, console))
        finally:
            state.stack_file.unlink(missing_ok=True)


def check_ports(addresses: Mapping[str, Address], wanted: set[str], *, patience: float) -> None:
    """All are free, at the latest after `patience` seconds.

    Raises:
        PortsBusy: one line per port that is not.
    """
    deadline = time.monotonic() + patience
    while taken := ports.busy(addresses, wanted):
        if time.monotonic() > deadline:
            raise PortsBusy("\n".join(str(port) for port in taken))
        time.sleep(0.1)


def _check_nodes(settings: StackSettings, state: State) -> None:
    """Data of three nodes are not run with one: it may be the one that the last majority writes have not reached."""
    others = [state.directory(name) for name in replica_set.NODES[1:]]
    if (
        settings.mongo_url is None
        and settings.mongo_nodes == 1
        and any((path / "WiredTiger").exists() for path in others)
    ):
        raise StackFailed(
            f"the data in {state.root} belong to a set of three nodes, and one of them alone may miss what was acknowledged: "
            "start it with --mongo-nodes 3"
        )


def _check_external(plan: Plan, settings: StackSettings) -> None:
    """Servers that run elsewhere are not ours to start: they work, or there is no point in going on."""
    outside = {
        "PABAL_MONGO_URL": probes.mongo(plan.mongo_url) if settings.mongo_url else None,
        "PABAL_VALKEY_URL": probes.valkey(plan.valkey_url) if settings.valkey_url else None,
    }
    for name, probe in outside.items():
        if probe and (problem := probe()):
            raise StackFailed(f"the server that {name} names can't be used: {problem}")


async def _supervise(plan: Plan, state: State, console: Console) -> None:
    started_at = datetime.now(UTC)
    with Display(plan.specs, console) as display:
        supervisor = Supervisor(plan.specs, state, display, _publisher(plan, state, started_at, display))
        await supervisor.run()
    display.say("everything has ended")


def _publisher(plan: Plan, state: State, started_at: datetime, display: Display) -> Callable[[dict[str, int]], None]:
    """Writes `stack.json` whenever pids change; the first time it also tells the person at the terminal."""
    told = False

    def publish(pids: dict[str, int]) -> None:
        nonlocal told
        found = describe(plan, state, pids, started_at)
        write_stack(state, found)
        if not told:
            told = True
            display.settle()
            _greet(display.console, found)

    return publish


def describe(plan: Plan, state: State, pids: dict[str, int], started_at: datetime) -> StackFile:
    """The content of `stack.json`."""
    at = plan.addresses
    http = {"api": "api", "broker": "broker_http", "bridge": "bridge_http", "worker": "worker_http"}
    return {
        "api": f"http://{at['api']}",
        "mqtt_host": at["mqtt"].host,
        "mqtt_port": at["mqtt"].port,
        "ws_url": f"ws://{at['ws']}/mqtt",
        "tls": _secure(plan),
        "mongo_url": plan.mongo_url,
        "mongo_nodes": {name: str(address) for name, address in plan.mongo_nodes().items()},
        "valkey_url": plan.valkey_url,
        "processes": pids,
        "fcm_url": f"http://{at['fcm']}" if plan.fcm else None,
        "credentials": str(state.credentials),
        "state": str(state.root),
        "started_at": started_at.isoformat(timespec="milliseconds"),
        "metrics": {name: f"http://{at[port]}/metrics" for name, port in http.items()},
    }


def _secure(plan: Plan) -> SecureFile | None:
    at, certificate = plan.addresses, plan.certificate
    if certificate is None:
        return None
    return {
        "mqtts_url": f"mqtts://{at['mqtts']}" if "mqtts" in at else None,
        "wss_url": f"wss://{at['wss']}/mqtt" if "wss" in at else None,
        "certificate": str(certificate),
        "clients_show_certificates": plan.clients_show_certificates,
    }


def _greet(console: Console, found: StackFile) -> None:
    console.print("\n[bold green]Pabal is up.[/] Ctrl-C ends it.\n", highlight=False)
    rows = {
        "MQTT": f"{found['mqtt_host']}:{found['mqtt_port']}",
        "WebSocket": found["ws_url"],
        **secure_rows(found),
        "API": f"{found['api']}  (described at {found['api']}/openapi.json)",
        "MongoDB": found["mongo_url"],
        "Valkey": found["valkey_url"],
        **({"FCM emulator": found["fcm_url"]} if found["fcm_url"] else {}),
        "users": f"admin, haneul (하늘), bada (바다): passwords in {found['credentials']}",
        "logs": f"{found['state']}/log",
    }
    summary(console, rows)
    console.print(f"\nTry this in another terminal: {_pabal(found, 'demo')}\n", highlight=False, soft_wrap=True)


def secure_rows(found: StackFile) -> dict[str, str]:
    """What to call the addresses with TLS, and where they are: none of them, without a certificate."""
    tls = found["tls"]
    urls = {} if tls is None else {"MQTT, TLS": tls["mqtts_url"], "WebSocket, TLS": tls["wss_url"]}
    return {name: url for name, url in urls.items() if url is not None}


def _pabal(found: StackFile, command: str) -> str:
    """A command that works as it stands where this one was given."""
    program = "pabal" if shutil.which("pabal") else os.path.relpath(Path(sys.executable).with_name("pabal"))
    default = State.at(StackSettings.model_fields["state"].default).root
    state = [] if found["state"] == str(default) else ["--state", found["state"]]
    return shlex.join([program, command, *state])
