"""Lists: files that filters go by, read anew when they change, without a restart.

A file that is broken, too large or gone changes nothing: the list of before stays in force, and the log says why. At the start there
is no list of before, so there a broken file is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sized
from pathlib import Path
from typing import Generic, TypeVar

import structlog

MAX_BYTES = 8 * 1024 * 1024
"""Of one file: far more than lists of words or domains are; a log file that was named by mistake is not read."""

T = TypeVar("T", bound=Sized)

_log = structlog.get_logger("lists")


class ListBroken(Exception):
    """A list can't be used; the reason names the line."""


def entries(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers; `#` begins a comment."""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        entry = line.partition("#")[0].strip()
        if entry:
            yield number, entry


class Listed(Generic[T]):
    """What a file says.

    Args:
        path: of the file, UTF-8.
        read: from its text to what the filter uses; raises `ListBroken`.

    Attributes:
        value: what the newest good version of it says.

    Raises:
        ListBroken: it can't be read at the start.
    """

    def __init__(self, path: Path, read: Callable[[str], T]) -> None:
        self._path = path
        self._read = read
        self._version = _version(path)
        self.value = self._load()

    async def refresh(self) -> None:
        """Read the file anew if it has changed. Never raises."""
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self.value = await asyncio.to_thread(self._load)
        except ListBroken as error:
            _log.error("list.failed", reason=str(error))
        else:
            _log.info("list.loaded", file=self._path.name, entries=len(self.value))

    def _load(self) -> T:
        try:
            return self._read(_bounded(self._path).decode())
        except ListBroken as error:
            raise ListBroken(f"{self._path.name}: {error}") from None
        except OSError as error:
            raise ListBroken(f"{self._path.name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ListBroken(f"{self._path.name}: not UTF-8") from None


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ListBroken(f"more than {MAX_BYTES} bytes")
    return data


def _version(path: Path) -> tuple[int, int, int] | None:
    """What changes when the file does; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
