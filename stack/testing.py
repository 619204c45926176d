"""A whole stack for tests and tools: `pabal up` as a process of its own, which ends with whoever started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from stack import credentials, ports, replica_set, servers
from stack.credentials import Credentials
from stack.processes import REPOSITORY
from stack.state import StackFile, State, node_addresses

UP_SECONDS = 90.0
DOWN_SECONDS = 60.0


class RunningStack:
    """A stack that is up.

    Attributes:
        state: its directory.
        info: `stack.json` as it was when last read; `refresh` reads it again (pids change with restarts).
        credentials: the admin and the demo users.
    """

    def __init__(
        self, state: State, process: subprocess.Popen[bytes], output: Path, *, before: StackFile | None = None
    ) -> None:
        self.state = state
        self.process = process
        self._output = output
        self.info: StackFile = self._await_healthy(before)
        self.credentials: Credentials = credentials.read(state.credentials)

    @classmethod
    def start(
        cls,
        root: Path,
        *,
        port_base: int | None = None,
        mongo_nodes: int = 1,
        env: Mapping[str, str] | None = None,
        args: tuple[str, ...] = (),
        program: tuple[str, ...] = ("-m", "stack"),
    ) -> RunningStack:
        """`pabal up` on a state directory; returns once everything is healthy.

        Args:
            root: the state directory.
            port_base: the first port; free ones when omitted.
            mongo_nodes: 1, or 3.
            env: variables on top of our own.
            args: more arguments of `pabal up`.
            program: what Python runs in place of `pabal`: for builds that are broken on purpose.

        Raises:
            RuntimeError: it does not come up; with what it said.
        """
        state = State.at(root)
        root.mkdir(parents=True, exist_ok=True)
        base = port_base or ports.free_port_base()
        where = ("--state", str(state.root), "--port-base", str(base), "--mongo-nodes", str(mongo_nodes))
        argv = [sys.executable, *program, "up", *where, *args]
        output, before = state.root / "up.log", state.read_stack()
        with output.open("ab") as file:
            process = subprocess.Popen(  # noqa: S603 -- our own program
                servers.launched(argv, signal="TERM"),
                cwd=REPOSITORY,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        try:
            return cls(state, process, output, before=before)
        except BaseException:
            _end(process)
            raise

    def refresh(self) -> StackFile:
        """Read `stack.json` again."""
        found = self.state.read_stack()
        if found is None:
            raise RuntimeError(f"the stack is not up:\n{self.output()}")
        self.info = found
        return found

    def kill(self, name: str) -> int:
        """SIGKILL to one process; returns the pid that it had."""
        return self._signal(name, signal.SIGKILL)

    def pause(self, name: str) -> int:
        """SIGSTOP to one process: it keeps its connections and answers nobody. Returns its pid, for `resume`."""
        return self._signal(name, signal.SIGSTOP)

    def _signal(self, name: str, number: signal.Signals, *, patience: float = 60.0) -> int:
        """Signal a process once it is there: one that was killed a moment ago is started again after a pause."""
        deadline = time.monotonic() + patience
        while True:
            pid = self.refresh()["processes"][name]
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return pid

    def resume(self, pid: int) -> None:
        """SIGCONT to a process that was paused; one that has ended meanwhile needs none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def primary(self, *, patience: float = 30.0) -> str:
        """The process name of the mongod that is primary now.

        Raises:
            TimeoutError: there is none.
        """
        names = {address: name for name, address in self.refresh()["mongo_nodes"].items()}
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            for one in replica_set.members(node_addresses(self.info)):
                if one.state == "PRIMARY":
                    return names[one.host]
            time.sleep(0.1)
        raise TimeoutError(f"no mongod is primary after {patience:g} s")

    def stop(self) -> int:
        """End it in order, and wait; its exit code."""
        return _end(self.process)

    def output(self) -> str:
        """The end of what `pabal up` said."""
        return self._output.read_text(errors="replace")[-4000:]

    def _await_healthy(self, before: StackFile | None) -> StackFile:
        """Wait for `stack.json`; `before` is what a supervisor that was killed has left there."""
        deadline = time.monotonic() + UP_SECONDS
        while (found := self.state.read_stack()) is None or found == before:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the stack did not come up:\n{self.output()}")
            time.sleep(0.05)
        return found


def _end(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(DOWN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
