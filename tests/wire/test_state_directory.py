"""`python -m broker --state DIR`: what can't be used ends the process with one clear line, and is left as it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.sqlite.sessions import SqliteSessions
from stack.ports import free_port


def _foreign(directory: Path) -> None:
    directory.mkdir()
    (directory / "사진.jpg").write_bytes(b"...")


def _garbage(directory: Path) -> None:
    directory.mkdir()
    (directory / "sessions.db").write_bytes(b"garbage" * 2000)


def _cut(directory: Path) -> None:
    SqliteSessions(directory).close()
    path = directory / "sessions.db"
    path.write_bytes(path.read_bytes()[:-5000])


def _file(directory: Path) -> None:
    directory.write_text("not a directory")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_foreign, "holds other files but no session store"),
        (_garbage, "file is not a database"),
        (_cut, "sessions.db"),
        (_file, "File exists"),
    ],
)
def test_a_state_that_can_not_be_used_ends_the_broker_with_one_line(
    tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    directory = tmp_path / "state"
    make(directory)
    argv = [sys.executable, "-m", "broker", "--open", "--bind", f"127.0.0.1:{free_port()}", "--state", str(directory)]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1
    (line,) = (line for line in said.splitlines() if "broker.failed" in line)
    assert "StoreUnusable" in line
    assert words in line
    assert "Traceback" not in said


def test_a_second_broker_on_a_directory_says_so(tmp_path: Path) -> None:
    first = SqliteSessions(tmp_path / "state")
    argv = [
        sys.executable,
        "-m",
        "broker",
        "--open",
        "--bind",
        f"127.0.0.1:{free_port()}",
        "--state",
        str(tmp_path / "state"),
    ]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    first.close()
    assert ended.returncode == 1
    assert "another broker runs on it" in ended.stdout + ended.stderr
