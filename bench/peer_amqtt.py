"""amqtt with its plugins for a password file and an access list; otherwise as it comes."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from argon2 import PasswordHasher

from bench.accounts import Accounts
from bench.peers import PeerMissing, Running, running
from stack.ports import free_port


class Amqtt:
    """`bench.peers.Peer`.

    Args:
        accounts: who may what.
        directory: for its files.

    Raises:
        PeerMissing: it is not installed.
    """

    name = "amqtt"
    v5 = False
    setup = "FileAuthPlugin (Argon2 in its cheapest form), TopicAccessControlListPlugin; sessions in memory"

    def __init__(self, accounts: Accounts, directory: Path) -> None:
        try:
            self.version = importlib.metadata.version("amqtt")
        except importlib.metadata.PackageNotFoundError:
            raise PeerMissing("amqtt is not installed: .venv/bin/python -m pip install -e '.[amqtt]'") from None
        self._accounts = accounts
        self._passwords = directory / "amqtt.passwords"
        self._rights = accounts.rights()
        # The cost of a hash is a setting of whoever makes it: this one is no cheaper to break than Mosquitto's.
        hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        lines = [f"{name}:{hasher.hash(accounts.password(name))}\n" for name in self._rights]
        self._passwords.write_text("".join(lines))

    def password(self, name: str) -> bytes:
        """From the password file."""
        return self._accounts.password(name).encode()

    @contextmanager
    def start(self, *, persistent: bool) -> Iterator[Running]:  # noqa: ARG002 - it keeps sessions in memory
        """Run it."""
        port, websocket = free_port(), free_port()
        publish = {name: list(rights.publish) for name, rights in self._rights.items()}
        subscribe = {name: list(rights.subscribe) for name, rights in self._rights.items()}
        config = {
            "listeners": {
                "default": {"type": "tcp", "bind": f"127.0.0.1:{port}"},
                "web": {"type": "ws", "bind": f"127.0.0.1:{websocket}"},
            },
            "plugins": {
                "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(self._passwords)},
                "amqtt.plugins.topic_checking.TopicAccessControlListPlugin": {"publish_acl": publish, "acl": subscribe},
            },
        }
        with tempfile.TemporaryDirectory(prefix="pabal-bench-") as state:
            file, log = Path(state, "amqtt.yaml"), Path(state, "log")
            file.write_text(json.dumps(config))  # JSON is YAML
            command = [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(file)]
            with running(command, [port, websocket], log) as pid:
                yield Running(port, (websocket, "/"), pid, log)
