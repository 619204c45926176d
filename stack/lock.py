"""One supervisor per state directory: an flock, which the kernel releases however its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class AlreadyRunning(Exception):
    """Somebody else supervises this state directory."""

    def __init__(self, state: Path, pid: int | None) -> None:
        who = f"pid {pid}" if pid else "unknown pid"
        super().__init__(
            f"a stack already runs on {state} ({who}): end it with `pabal down --state {state}`, "
            "or start another one beside it with --state DIR --port-base N"
        )
        self.pid = pid


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the only one while the block runs.

    Raises:
        AlreadyRunning: with the pid of who is.
    """
    with path.open("a+", encoding="ascii") as file:
        if not _take(file):
            raise AlreadyRunning(path.parent, holder(path))
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        file.truncate(0)


def _take(file: TextIO) -> bool:
    """Several short tries: `holder` has the lock for a moment when somebody asks just now."""
    for _ in range(5):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
        else:
            return True
    return False


def holder(path: Path) -> int | None:
    """The pid of the supervisor that holds the lock; None when nobody does."""
    try:
        with path.open("r+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text else None
    except FileNotFoundError:
        return None
    return None
