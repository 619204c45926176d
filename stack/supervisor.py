"""The supervisor: starts the plan in order, restarts what dies, ends it in reverse order.

Each child has a keeper (`stack.keeper`), each keeper one task. At the end the keepers are asked one after the other, last
started first. Children must be forked from the main thread (`stack.child`), so the loop runs there.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence

from stack.display import Display
from stack.keeper import Context, Keeper, StackFailed
from stack.processes import ProcessSpec
from stack.running import Guard
from stack.state import State


class Supervisor:
    """Runs `specs` until it is asked to end. Make it inside the running loop.

    Args:
        changed: called with pid per name when everything is healthy for the first time, and after each restart from then on.
    """

    def __init__(
        self, specs: Sequence[ProcessSpec], state: State, display: Display, changed: Callable[[dict[str, int]], None]
    ) -> None:
        self._changed = changed
        self._ending = asyncio.Event()
        self._failure: StackFailed | None = None
        self._guard = Guard()
        self._all_healthy = False
        context = Context(state, display, self._guard, self._ending, self._fail, self._pids_changed)
        self._keepers: dict[str, Keeper] = {}
        for spec in specs:
            needs = [self._keepers[name] for name in spec.depends_on]
            self._keepers[spec.name] = Keeper(context, spec, needs)

    async def run(self) -> None:
        """Start everything, and keep it running until `end` or SIGINT, SIGTERM or SIGHUP.

        Raises:
            StackFailed: a step that runs once failed; everything has been ended by then.
        """
        tasks = {name: asyncio.create_task(keeper.run(), name=name) for name, keeper in self._keepers.items()}
        for task in tasks.values():
            task.add_done_callback(self._keeper_ended)
        with _signals(self.end):
            start = asyncio.create_task(self._watch_start())
            await self._ending.wait()
            start.cancel()
            for name, task in reversed(tasks.items()):
                self._keepers[name].asked.set()
                await asyncio.wait({task})
        self._guard.close()
        if self._failure:
            raise self._failure

    def end(self) -> None:
        """Ask for the end. Asked again: don't wait for anybody any more."""
        if self._ending.is_set():
            for keeper in self._keepers.values():
                keeper.kill()
        self._ending.set()

    def _fail(self, failure: StackFailed) -> None:
        self._failure = self._failure or failure
        self._ending.set()

    def _keeper_ended(self, task: asyncio.Task[None]) -> None:
        """A keeper that raised (no process could be forked, its log could not be opened) ends the stack."""
        error = task.exception()
        if error is not None:
            failure = StackFailed(f"{task.get_name()} can't be run: {error}")
            failure.__cause__ = error
            self._fail(failure)

    def _pids_changed(self) -> None:
        if self._all_healthy:
            self._changed({name: keeper.current.pid for name, keeper in self._keepers.items() if keeper.current})

    async def _watch_start(self) -> None:
        for keeper in self._keepers.values():
            await keeper.ready.wait()
        self._all_healthy = True
        self._pids_changed()


@contextlib.contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it goes on without its terminal
        signals.append(signal.SIGHUP)
    for signum in signals:
        loop.add_signal_handler(signum, handler)
    try:
        yield
    finally:
        for signum in signals:
            loop.remove_signal_handler(signum)
