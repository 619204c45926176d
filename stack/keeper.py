"""Keeps one child alive: waits for what it needs, starts it, watches it become healthy, starts it again when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stack.backoff import Backoff
from stack.display import Display
from stack.logs import RotatingLog, last_life
from stack.processes import ProcessSpec, Restart
from stack.running import Guard, Run, Status
from stack.state import State

PROBE_EVERY_SECONDS = 0.1
COMPLAIN_EVERY_SECONDS = 15.0
TAIL_LINES = 20


class StackFailed(Exception):
    """The stack can't run: a step that has to succeed did not."""


@dataclass(frozen=True, slots=True)
class Context:
    """What the keepers of one supervisor share.

    Attributes:
        ending: set from the moment when nothing is started any more.
        fail: end the stack for this reason.
        pids_changed: a child runs under another pid than before.
    """

    state: State
    display: Display
    guard: Guard
    ending: asyncio.Event
    fail: Callable[[StackFailed], None]
    pids_changed: Callable[[], None]


class Keeper:
    """The owner of one child's whole life.

    Ending is not done by cancelling: set `asked`, and `run` ends the child and returns.

    Attributes:
        ready: set once the child was healthy (or, when it runs once, has succeeded) for the first time.
        current: the process as it runs now; None between two lives.
    """

    def __init__(self, context: Context, spec: ProcessSpec, needs: Sequence[Keeper]) -> None:
        self.spec = spec
        self.ready = asyncio.Event()
        self.asked = asyncio.Event()
        self.current: Run | None = None
        self._context = context
        self._needs = needs
        self._failures = 0
        self._log_path = context.state.log(spec.name)

    async def run(self) -> None:
        """From before the first start to after the last end."""
        for need in self._needs:
            await _any(need.ready, self._context.ending)
        backoff = Backoff()
        with contextlib.closing(RotatingLog(self._log_path)) as log:
            while not self._context.ending.is_set():
                code, healthy_seconds = await self._live(log)
                if self._context.ending.is_set():
                    break
                if self.spec.restart is Restart.ONCE:
                    self._report_step(code)
                    break
                wait = backoff.after(healthy_seconds)
                self._show(Status.RESTARTING)
                self._say(f"{_how(code)}; it is started again in {wait:g} s{self._last_words(healthy_seconds)}")
                await _any(self._context.ending, timeout=wait)
        if self.spec.restart is Restart.ALWAYS:
            self._context.display.changed(self.spec.name, Status.ENDED)

    def kill(self) -> None:
        """Don't wait for it to end by itself."""
        if self.current and not self.current.exit.done():
            self.current.kill()

    async def _live(self, log: RotatingLog) -> tuple[int, float]:
        """One life: its return code, and for how many seconds of it the child was healthy."""
        self.current = run = Run.start(self.spec, log, self._context.guard)
        self._show(Status.STARTING)
        self._context.pids_changed()
        healthy_at: float | None = None
        if await self._becomes_healthy(run):
            healthy_at = time.monotonic()
            self._failures = 0
            self.ready.set()
            self._show(Status.HEALTHY)
        await _any(run.exit, self.asked)
        healthy_seconds = 0.0 if healthy_at is None else time.monotonic() - healthy_at
        if not run.exit.done():
            self._show(Status.ENDING)
        await run.end(self._context.guard)
        self.current = None
        return run.exit.result(), healthy_seconds

    async def _becomes_healthy(self, run: Run) -> bool:
        """Probe until it is healthy; False when it ended, or was asked to, before that."""
        if self.spec.healthy is None:
            return False
        complain_at = time.monotonic() + COMPLAIN_EVERY_SECONDS
        while not (run.exit.done() or self.asked.is_set()):
            problem = await asyncio.to_thread(self.spec.healthy)
            if problem is None:
                return not run.exit.done()
            if time.monotonic() > complain_at:
                complain_at += COMPLAIN_EVERY_SECONDS
                self._say(f"is not healthy yet: {problem}; its log is {self._log_path}")
            await _any(run.exit, self.asked, timeout=PROBE_EVERY_SECONDS)
        return False

    def _report_step(self, code: int) -> None:
        """What runs once has ended: it is done, or the stack can't go on."""
        if code == 0:
            self.ready.set()
            self._show(Status.DONE)
        else:
            self._context.fail(StackFailed(f"{self.spec.name} {_how(code)}{self._last_words(0.0)}"))

    def _last_words(self, healthy_seconds: float) -> str:
        """What it said before it ended, if it never became healthy: once, not again for each further try."""
        self._failures += 1
        if healthy_seconds or self._failures > 1:
            return ""
        lines = last_life(self._log_path, TAIL_LINES) or ["(it said nothing)"]
        return "\n".join([f"; from {self._log_path}:", *(f"    {line}" for line in lines)])

    def _show(self, status: Status) -> None:
        self._context.display.changed(self.spec.name, status, self.current.pid if self.current else None)

    def _say(self, text: str) -> None:
        self._context.display.say(f"{self.spec.name} {text}", style="bold red")


def _how(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


async def _any(*things: asyncio.Event | asyncio.Future[int], timeout: float | None = None) -> None:  # noqa: ASYNC109 -- passed on
    """Wait until one of the events is set, one of the futures is done, or the time is over."""
    waits = {
        thing if isinstance(thing, asyncio.Future) else asyncio.ensure_future(thing.wait()): thing for thing in things
    }
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait, thing in waits.items():
            if wait is not thing:
                wait.cancel()
