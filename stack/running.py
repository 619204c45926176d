"""One child of the supervisor: started, watched until it is healthy, ended with all that it forked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import Any

from stack import servers
from stack.logs import RotatingLog, birth
from stack.processes import REPOSITORY, ProcessSpec

KILL_SECONDS = 5.0
"""How long the kernel may take to bury a killed process before we stop waiting for it."""

GUARD = Path(__file__).with_name("guard.py")


class Status(StrEnum):
    """Where a child is in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    HEALTHY = "healthy"
    DONE = "done"
    RESTARTING = "restarting"
    ENDING = "ending"
    ENDED = "ended"


class Guard:
    """The supervisor's end of the pipe to `stack.guard`."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-I", "-S", str(GUARD)]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603 -- our own file

    def add(self, group: int) -> None:
        """This group must not outlive us."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """This group is gone; its number may soon be somebody else's."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        try:
            self._write(line)
        except BrokenPipeError:  # somebody killed the guard: the next one gets the whole list
            self._process.wait()
            self._process = self._start()
            self._write("".join(f"+{group}\n" for group in self._groups))

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None  # noqa: S101 -- it was opened with PIPE
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """We end in order: the guard ends too."""
        assert self._process.stdin is not None  # noqa: S101 -- it was opened with PIPE
        self._process.stdin.close()
        self._process.wait()


class Run:
    """One life of a child: from its start to its end.

    Not `asyncio.subprocess`: its `wait` also waits until the pipes are closed, and whatever the child forked holds them open.

    Attributes:
        exit: done when the process itself has ended, with its return code (negative: the signal that killed it).
    """

    def __init__(self, spec: ProcessSpec, process: subprocess.Popen[bytes], pump: asyncio.Task[None]) -> None:
        self.spec = spec
        self.pid = process.pid
        self.exit = _exit_of(process)
        self._process = process
        self._pump = pump

    @classmethod
    def start(cls, spec: ProcessSpec, log: RotatingLog, guard: Guard) -> Run:
        """Fork it, in a session (and so a process group) of its own; Ctrl-C reaches only the supervisor.

        Raises:
            OSError: it can't be forked.
        """
        process = subprocess.Popen(  # noqa: S603 -- argv comes from stack.processes
            servers.launched(spec.argv),
            cwd=REPOSITORY,
            env={**os.environ, **spec.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        guard.add(process.pid)
        log.write(birth(process.pid))
        return cls(spec, process, asyncio.create_task(_pump(process, log), name=f"log of {spec.name}"))

    def kill(self) -> None:
        """SIGKILL to it and to all that it forked."""
        with contextlib.suppress(ProcessLookupError):  # the usual case after an orderly end: nobody is left
            os.killpg(self.pid, signal.SIGKILL)

    async def end(self, guard: Guard) -> None:
        """SIGTERM to the process, after its time SIGKILL; then SIGKILL to whatever it forked and left behind."""
        if not self.exit.done():
            self._process.send_signal(signal.SIGTERM)
            await asyncio.wait({self.exit}, timeout=self.spec.stop_seconds)
        self.kill()
        rest: list[asyncio.Future[Any]] = [self.exit, self._pump]
        await asyncio.wait(rest, timeout=KILL_SECONDS)
        self._pump.cancel()
        guard.remove(self.pid)


def _exit_of(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Wait in a thread of its own, since that works on every system."""
    loop = asyncio.get_running_loop()
    exit_: asyncio.Future[int] = loop.create_future()

    def wait() -> None:
        code = process.wait()
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            loop.call_soon_threadsafe(exit_.set_result, code)

    threading.Thread(target=wait, name=f"wait for {process.pid}", daemon=True).start()
    return exit_


async def _pump(process: subprocess.Popen[bytes], log: RotatingLog) -> None:
    """Everything that a child says goes to its log; one that says much waits for the disk, it does not fill our memory."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, process.stdout)
    try:
        while data := await reader.read(64 * 1024):
            try:
                log.write(data)
            except OSError:  # the disk is full: lines are lost, but a child must not hang on its standard output
                continue
    finally:
        transport.close()
