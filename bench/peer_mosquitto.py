"""Mosquitto with a password file and an access list; with its own defaults but for queues that hold a whole window."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.accounts import Accounts, Rights
from bench.peers import PeerMissing, Running, running
from stack.ports import free_port


class Mosquitto:
    """`bench.peers.Peer`.

    Args:
        accounts: who may what.
        directory: for its files.

    Raises:
        PeerMissing: it is not installed.
    """

    name = "Mosquitto"
    v5 = True
    setup = "password_file, acl_file, max_queued_messages 0, max_inflight_messages 1000; persistence where sessions are kept"

    def __init__(self, accounts: Accounts, directory: Path) -> None:
        self._binary = _found("mosquitto")
        self._accounts = accounts
        self._passwords, self._rights = directory / "mosquitto.passwords", directory / "mosquitto.acl"
        rights = accounts.rights()
        self._passwords.write_text("".join(f"{name}:{accounts.password(name)}\n" for name in rights))
        subprocess.run([_found("mosquitto_passwd"), "-U", str(self._passwords)], check=True, capture_output=True)
        self._rights.write_text("".join(_acl(name, rights) for name, rights in rights.items()))
        for file in (self._passwords, self._rights):
            file.chmod(0o644)  # started by root it becomes another user
        said = subprocess.run([self._binary, "-h"], check=False, capture_output=True, text=True).stdout
        self.version = said.split("\n", 1)[0].removeprefix("mosquitto version ")

    def password(self, name: str) -> bytes:
        """From the password file."""
        return self._accounts.password(name).encode()

    @contextmanager
    def start(self, *, persistent: bool) -> Iterator[Running]:
        """Run it."""
        port, websocket = free_port(), free_port()
        with tempfile.TemporaryDirectory(prefix="pabal-bench-") as state:
            lines = [
                *(f"listener {port} 127.0.0.1", f"listener {websocket} 127.0.0.1", "protocol websockets"),
                *("per_listener_settings false", "allow_anonymous false"),
                *(f"password_file {self._passwords}", f"acl_file {self._rights}"),
                *("max_queued_messages 0", "max_inflight_messages 1000"),
                # As root it would become the user `mosquitto`, who may not write there.
                *("user root", f"persistence {str(persistent).lower()}", f"persistence_location {state}/"),
            ]
            config, log = Path(state, "mosquitto.conf"), Path(state, "log")
            config.write_text("\n".join(lines) + "\n")
            with running([self._binary, "-c", str(config)], [port, websocket], log) as pid:
                yield Running(port, (websocket, "/mqtt"), pid, log)


def _acl(name: str, rights: Rights) -> str:
    lines = [f"user {name}"]
    lines += [f"topic write {filter_}" for filter_ in rights.publish]
    lines += [f"topic read {filter_}" for filter_ in rights.subscribe]
    return "\n".join(lines) + "\n"


def _found(program: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/bin")
    if path is None:
        raise PeerMissing(f"{program} is not installed: on Debian and Ubuntu, sudo apt-get install mosquitto")
    return path
