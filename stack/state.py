"""The state directory: what lies where, and `stack.json`, which says what runs where.

| path | owner |
|---|---|
| `mongo/`, `mongo1/`, `mongo2/`, `valkey/` | the data of the servers |
| `keys/`, `jwks.json`, `services/` | signing keys, their public halves, secrets of services (`api.bootstrap`) |
| `ca/` | the authority that signs certificates of devices (`api.bootstrap`) |
| `vapid/` | the keys that pushes to browsers are signed with (`api.bootstrap`) |
| `broker/`, `worker/`, `fcm/` | what those processes keep |
| `log/<process>.log` | standard output and error of each process |
| `broker-admin` | the secret of the broker's admin interface, mode 0600 |
| `credentials.json` | an administrator and two demo users, mode 0600 |
| `stack.json` | what runs where, as long as it runs |
| `restoring` | there when a backup was put back half way |
| `lock` | held by the supervisor; its pid |
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from stack.ports import Address


class SecureFile(TypedDict):
    """Of `stack.json`: where the broker speaks TLS, None where it doesn't.

    `certificate` is the path of what it shows; `clients_show_certificates` whether they have to.
    """

    mqtts_url: str | None
    wss_url: str | None
    certificate: str
    clients_show_certificates: bool


class StackFile(TypedDict):
    """`stack.json`. Addresses are those that a client on this machine connects to; times are ISO 8601, UTC.

    Attributes:
        mongo_nodes: `host:port` by the name of the process, of those mongods that are ours.
    """

    api: str
    mqtt_host: str
    mqtt_port: int
    ws_url: str
    tls: SecureFile | None
    mongo_url: str
    mongo_nodes: dict[str, str]
    valkey_url: str
    processes: dict[str, int]
    fcm_url: str | None
    credentials: str
    state: str
    started_at: str
    metrics: dict[str, str]


@dataclass(frozen=True, slots=True)
class State:
    """Paths below one state directory (absolute)."""

    root: Path

    DIRECTORIES = (
        "mongo",
        "mongo1",
        "mongo2",
        "valkey",
        "keys",
        "services",
        "ca",
        "vapid",
        "broker",
        "worker",
        "fcm",
        "log",
    )

    @classmethod
    def at(cls, root: Path) -> State:
        """The state in `root`, whether or not it exists yet."""
        return cls(root.expanduser().absolute())

    def create(self) -> None:
        """Make the directories; only their owner may look inside, since keys and messages lie there."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in self.DIRECTORIES:
            (self.root / name).mkdir(exist_ok=True, mode=0o700)

    def directory(self, name: str) -> Path:
        """One of `DIRECTORIES`."""
        return self.root / name

    def service_secret(self, principal: str) -> Path:
        """The file with the secret of a service, such as `svc-bridge`."""
        return self.root / "services" / principal

    def log(self, process: str) -> Path:
        """The newest log of a process; older ones end in `.1`, `.2`, …"""
        return self.root / "log" / f"{process}.log"

    @property
    def jwks(self) -> Path:
        """Public keys."""
        return self.root / "jwks.json"

    @property
    def broker_admin(self) -> Path:
        """The secret of the broker's admin interface."""
        return self.root / "broker-admin"

    @property
    def credentials(self) -> Path:
        """The first users."""
        return self.root / "credentials.json"

    @property
    def stack_file(self) -> Path:
        """What runs where."""
        return self.root / "stack.json"

    @property
    def restoring(self) -> Path:
        """There while a backup is put back, and after one that was not finished: nothing may run on what is here."""
        return self.root / "restoring"

    @property
    def lock(self) -> Path:
        """The supervisor's lock."""
        return self.root / "lock"

    def read_stack(self) -> StackFile | None:
        """What runs where; None when nothing does (or has not become healthy yet)."""
        try:
            found: StackFile = json.loads(self.stack_file.read_bytes())
        except FileNotFoundError:
            return None
        return found


def node_addresses(found: StackFile) -> list[Address]:
    """Where the mongods of a stack listen."""
    return [Address.parse(address) for address in found["mongo_nodes"].values()]


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Readers see the old file or the new one, never a part of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, mode)  # the umask had its say at os.open
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def write_stack(state: State, found: StackFile) -> None:
    """Tell everybody what runs where."""
    write_atomically(state.stack_file, json.dumps(found, indent=2) + "\n")
