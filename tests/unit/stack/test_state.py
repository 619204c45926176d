"""Files of a state directory: credentials, lock, logs, stack.json."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stack import credentials, lock, logs
from stack.lock import AlreadyRunning
from stack.logs import RotatingLog
from stack.processes import REPOSITORY
from stack.state import State, write_atomically


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_owner_may_look_into_the_state(tmp_path: Path) -> None:
    state = State.at(tmp_path / "깊은" / "곳")
    state.create()
    state.create()
    assert all(mode(state.directory(name)) == 0o700 for name in State.DIRECTORIES)


def test_credentials_are_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    made = credentials.ensure(path)
    assert credentials.ensure(path) == made == credentials.read(path)
    assert mode(path) == 0o600
    assert made["admin"]["handle"] == "admin"
    assert [(user["handle"], user["display_name"]) for user in made["users"]] == [("haneul", "하늘"), ("bada", "바다")]
    passwords = [made["admin"]["password"], *(user["password"] for user in made["users"])]
    assert len(set(passwords)) == 3
    assert all(len(password) >= 24 for password in passwords)


def test_two_states_have_different_passwords(tmp_path: Path) -> None:
    one, other = credentials.ensure(tmp_path / "a"), credentials.ensure(tmp_path / "b")
    assert one["admin"]["password"] != other["admin"]["password"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "stack.json"
    write_atomically(path, "하나")
    before = path.stat().st_ino
    write_atomically(path, "둘")
    assert path.read_text() == "둘"
    assert path.stat().st_ino != before, "it is another file, put in the place of the first"
    assert list(tmp_path.iterdir()) == [path], "no draft is left"


def test_a_stack_that_does_not_run_has_no_description(tmp_path: Path) -> None:
    assert State.at(tmp_path).read_stack() is None


HOLDER = "import sys; from pathlib import Path; from stack import lock\nwith lock.hold(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_one_supervisor_per_state(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert lock.holder(path) == holder.pid
        with pytest.raises(AlreadyRunning, match=f"pid {holder.pid}.*pabal down --state {tmp_path}"), lock.hold(path):
            pass
        holder.kill()
        holder.wait()
        assert lock.holder(path) is None, "the kernel lets go for a holder that was killed"
        with lock.hold(path):
            assert int(path.read_text()) == os.getpid()
    assert lock.holder(path) is None


def test_a_lock_that_never_was_has_no_holder(tmp_path: Path) -> None:
    assert lock.holder(tmp_path / "lock") is None


def test_logs_are_bounded_and_the_newest_survive(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "a.log", max_bytes=100)
    for number in range(100):
        log.write(f"line {number:03}\n".encode())
    log.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["a.log", "a.log.1", "a.log.2", "a.log.3"]
    assert all((tmp_path / name).stat().st_size <= 100 for name in files)
    kept = "".join((tmp_path / name).read_text() for name in ("a.log.3", "a.log.2", "a.log.1", "a.log")).splitlines()
    assert kept[-1] == "line 099"
    assert kept == [f"line {number:03}" for number in range(100 - len(kept), 100)], "nothing is missing in between"


def test_one_write_larger_than_a_file_is_kept_whole(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "a.log", max_bytes=10)
    log.write(b"x" * 50)
    log.write(b"y" * 50)
    log.close()
    assert (tmp_path / "a.log").read_bytes() == b"y" * 50
    assert (tmp_path / "a.log.1").read_bytes() == b"x" * 50


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        log = RotatingLog(tmp_path / "a.log")
        log.write(text)
        log.close()
    assert logs.tail(tmp_path / "a.log", 10) == ["one", "two"]
    assert logs.tail(tmp_path / "a.log", 1) == ["two"]


def test_last_words_are_those_of_the_last_life(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "a.log")
    log.write(logs.birth(1) + "옛날\n".encode() + logs.birth(2) + "지금\n".encode())
    log.close()
    assert logs.last_life(tmp_path / "a.log", 20) == ["지금"]
    assert logs.last_life(tmp_path / "a.log", 1) == ["지금"]


def test_following_goes_on_across_a_rotation(tmp_path: Path) -> None:
    log = RotatingLog(tmp_path / "a.log", max_bytes=20)
    log.write(b"before\n")
    said = logs.follow(tmp_path / "a.log", poll_seconds=0.01)
    log.write(b"one\n")
    assert next(said) == "one\n"
    log.write(b"two\n")
    log.write(b"three three three\n")
    log.close()
    assert (tmp_path / "a.log.1").read_text().endswith("two\n"), "it was rotated in between"
    seen = ""
    while "three" not in seen:
        seen += next(said)
    assert seen == "two\nthree three three\n"


def test_stack_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = State.at(tmp_path)
    state.stack_file.write_text(json.dumps({"api": "http://127.0.0.1:1"}))
    found = state.read_stack()
    assert found is not None
    assert found["api"] == "http://127.0.0.1:1"
