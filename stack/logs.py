"""Logs of children: bounded files, and their last lines."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 10 * 1024 * 1024
KEPT = 3
"""Files kept beside the newest: a process can fill 40 MiB, not the disk."""


class RotatingLog:
    """Appends bytes to `name.log`; a full one becomes `name.log.1`, the one before it `.2`, up to `KEPT`."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file = path.open("ab", buffering=0)
        self._size = self._file.tell()

    def write(self, data: bytes) -> None:
        """Append; lines are cut between files only at the end of a read."""
        if self._size + len(data) > self._max_bytes and self._size > 0:
            self._rotate()
        self._file.write(data)
        self._size += len(data)

    def _rotate(self) -> None:
        self._file.close()
        for number in range(KEPT - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            if older.exists():
                older.replace(self.path.with_name(f"{self.path.name}.{number + 1}"))
        self.path.replace(self.path.with_name(f"{self.path.name}.1"))
        self._file = self.path.open("ab", buffering=0)
        self._size = 0

    def close(self) -> None:
        """No more writing."""
        self._file.close()


def birth(pid: int) -> bytes:
    """The line that separates the lives of a process in its log."""
    return f"{_BIRTH}{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, pid {pid}\n".encode()


_BIRTH = "──── started at "


def last_life(path: Path, lines: int) -> list[str]:
    """The last lines of what a process has said since its last start."""
    found = tail(path, lines)
    starts = [number for number, line in enumerate(found) if line.startswith(_BIRTH)]
    return found[starts[-1] + 1 :] if starts else found


def tail(path: Path, lines: int, *, max_bytes: int = 256 * 1024) -> list[str]:
    """The last lines of a file, out of its last `max_bytes`."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - max_bytes))
        return file.read().decode(errors="replace").splitlines()[-lines:]


def follow(path: Path, *, poll_seconds: float = 0.2) -> Iterator[str]:
    """What is appended from this call on, across rotations, for ever."""
    file = path.open("rb")
    file.seek(0, 2)
    return _follow(path, file, poll_seconds)


def _follow(path: Path, file: BinaryIO, poll_seconds: float) -> Iterator[str]:
    while True:
        if data := file.read():
            yield data.decode(errors="replace")
            continue
        time.sleep(poll_seconds)
        try:
            rotated = path.stat().st_ino != os.fstat(file.fileno()).st_ino
        except FileNotFoundError:  # between two renames
            continue
        if rotated:
            rest = file.read()
            file.close()
            file = path.open("rb")
            yield rest.decode(errors="replace")
