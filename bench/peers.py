"""Starts the brokers that are compared, each on a free loopback port, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

STARTUP_SECONDS = 15.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def ours() -> AsyncIterator[tuple[int, int]]:
    """Our broker, alone (`--open`): (port, pid)."""
    port = free_port()
    async with _running([sys.executable, "-m", "broker", "--open", "--bind", f"127.0.0.1:{port}"], port) as pid:
        yield port, pid


@asynccontextmanager
async def mosquitto() -> AsyncIterator[tuple[int, int]]:
    """Mosquitto with its own defaults but for queues that hold the whole window: (port, pid)."""
    port = free_port()
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        raise FileNotFoundError("mosquitto is not installed (Debian: apt-get install mosquitto)")
    with _mosquitto_config(port) as config:
        async with _running([binary, "-c", config], port) as pid:
            yield port, pid


@contextmanager
def _mosquitto_config(port: int) -> Iterator[str]:
    """A configuration file with queues that hold the whole window; its path."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        file.write("max_queued_messages 0\nmax_inflight_messages 1000\n")
        file.flush()
        yield file.name


@asynccontextmanager
async def _running(command: list[str], port: int) -> AsyncIterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220 - once, before the clock runs
    try:
        await _reachable(port, process)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()


async def _reachable(port: int, process: subprocess.Popen[bytes]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STARTUP_SECONDS
    while loop.time() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with code {process.returncode}")
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")
