"""What the brokers that are compared have in common: a process that dies with this one, a login."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stack.servers import launched

STARTUP_SECONDS = 30.0


class PeerMissing(Exception):
    """A broker is not installed; the text says how to get it."""


@dataclass(frozen=True, slots=True)
class Running:
    """A broker that runs.

    Attributes:
        port: MQTT over TCP.
        websocket: MQTT over WebSocket, and its path.
        pid: whose CPU and memory count.
        log: what it wrote.
    """

    port: int
    websocket: tuple[int, str]
    pid: int
    log: Path


class Peer(Protocol):
    """A broker that can be started again and again, each time with nothing in it."""

    name: str
    version: str
    v5: bool
    """Whether it speaks MQTT 5, and has shared subscriptions."""
    setup: str
    """How logins, rights and sessions are kept, for the report."""

    def password(self, name: str) -> bytes:
        """What `name` signs in with."""
        ...

    def start(self, *, persistent: bool) -> AbstractContextManager[Running]:
        """Run it until the block ends; `persistent`: sessions are to survive it."""
        ...


@contextmanager
def running(
    command: Sequence[str], ports: Sequence[int], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a server until the block ends; its pid. The block starts when it listens on all ports.

    Raises:
        RuntimeError: it ended before, with the end of its log.
        TimeoutError: it does not listen.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            launched(command), stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
    try:
        for port in ports:
            _reachable(port, process, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _reachable(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with code {process.returncode}: {log.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}: {log.read_text(errors='replace')[-2000:]}")
