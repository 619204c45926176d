"""Sessions on a disk as disks are: bad state is a clear error and never a fresh start, a full disk loses nothing, and what a power
cut leaves of the log is the batches up to some point.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.sqlite.sessions import APPLICATION_ID, VERSION, SqliteSessions
from mqtt.store import Batch, EntryRecord, MessageRecord, SessionRecord, StoreUnusable, SubscriptionRecord


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def session(key: int) -> SessionRecord:
    return SessionRecord(key, f"고객{key}", "kim", "uid", 3600, None)


def message(key: int, size: int = 10) -> MessageRecord:
    return MessageRecord(key, "대화/1", os.urandom(size), 1, False, {}, None, None, "lee")


def batch(*records: SessionRecord | SubscriptionRecord | MessageRecord | EntryRecord) -> Batch:
    made = Batch()
    for record in records:
        made.saved.setdefault(type(record), []).append(record)
    return made


def write(store: SqliteSessions, made: Batch) -> Exception | None:
    said: list[Exception | None] = []
    done = threading.Event()

    def written(failure: Exception | None) -> None:
        said.append(failure)
        done.set()

    store.write(made, written)
    assert done.wait(30)
    (failure,) = said
    return failure


def filled(directory: Path, sessions: int = 300) -> Path:
    """A store with something in it, closed as a broker that ends does; its file."""
    store = SqliteSessions(directory)
    for start in range(1, sessions + 1, 50):
        keys = range(start, start + 50)
        records: list[SessionRecord | SubscriptionRecord | MessageRecord | EntryRecord] = [
            *map(session, keys),
            *(SubscriptionRecord(key, "가/#", 1, False, False, ()) for key in keys),
            *(message(1000 + key, 200) for key in keys),
            *(EntryRecord(2000 + key, key, 1000 + key, 0, 1, False, (), "") for key in keys),
        ]
        assert write(store, batch(*records)) is None
    store.close()
    return directory / "sessions.db"


def refusal(directory: Path) -> str:
    """Why a store can't be used. What is there must be as it was."""
    before = contents(directory)
    with pytest.raises(StoreUnusable) as caught:
        SqliteSessions(directory)
    after = contents(directory)
    assert {name: data for name, data in after.items() if name in before} == before
    assert "sessions.db" not in after.keys() - before.keys()  # nothing fresh in its place
    return str(caught.value)


def contents(directory: Path) -> dict[str, bytes]:
    files = directory.iterdir() if directory.is_dir() else [directory]
    return {path.name: path.read_bytes() for path in files if path.is_file() and not path.name.endswith("-shm")}


# ---- what is there is not ours, or not whole


def test_a_database_of_somebody_else(directory: Path) -> None:
    directory.mkdir()
    other = sqlite3.connect(directory / "sessions.db")
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.close()
    assert "not a session store of Pabal" in refusal(directory)


def test_an_empty_file_is_not_an_empty_store(directory: Path) -> None:
    directory.mkdir()
    (directory / "sessions.db").touch()
    assert "not a session store of Pabal" in refusal(directory)


def test_a_directory_of_somebody_else(directory: Path) -> None:
    directory.mkdir()
    (directory / "사진.jpg").write_bytes(b"...")
    assert "holds other files but no session store (사진.jpg" in refusal(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["사진.jpg"]  # not even a lock was left


def test_a_log_without_its_database(directory: Path) -> None:
    """Somebody has moved the one file and not the other: to start afresh would lose what the log holds, too."""
    directory.mkdir()
    (directory / "sessions.db-wal").write_bytes(b"\0" * 4096)
    assert "sessions.db-wal" in refusal(directory)


def test_bytes_that_are_no_database(directory: Path) -> None:
    directory.mkdir()
    (directory / "sessions.db").write_bytes(os.urandom(8192))
    assert "not a database" in refusal(directory)


def test_a_newer_version(directory: Path) -> None:
    path = filled(directory, 50)
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    assert f"is of version {VERSION + 1}, this broker knows version {VERSION}" in refusal(directory)


@pytest.mark.parametrize("cut", [1, 512, 4096, 3 * 4096, 5 * 4096 + 100])
def test_a_file_that_ends_early(directory: Path, cut: int) -> None:
    path = filled(directory)
    os.truncate(path, path.stat().st_size - cut)
    assert "can't be used" in refusal(directory) or "damaged" in refusal(directory)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("DROP TABLE meta", "no such table: meta"),
        ("DELETE FROM meta", "how often it was opened"),
    ],
)
def test_a_store_that_can_not_be_counted(directory: Path, change: str, words: str) -> None:
    path = filled(directory, 50)
    broken = sqlite3.connect(path)
    broken.executescript(change)
    broken.close()
    with pytest.raises(StoreUnusable, match=words):
        SqliteSessions(directory)


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE entries",
        "ALTER TABLE entries DROP COLUMN share",
        "UPDATE messages SET properties = x'ff00ff'",
        "UPDATE messages SET properties = x'81a17081'",
        "UPDATE sessions SET client_id = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_store_that_can_not_be_read(directory: Path, change: str) -> None:
    path = filled(directory, 50)
    broken = sqlite3.connect(path)
    broken.executescript(change)
    broken.close()
    store = SqliteSessions(directory)
    with pytest.raises(StoreUnusable, match="damaged"):
        (store.counts(), list(store.load()))
    store.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("whole") / "s", 100)


@settings(max_examples=150, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), flipped=st.binary(min_size=1, max_size=40))
def test_damage_is_found_or_does_not_change_the_kind_of_anything(whole: Path, at: float, flipped: bytes) -> None:
    """SQLite has no checksums: a byte in the middle of a text is another text. What is found is an error of ours, and what is not
    has the types that it should have.
    """
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        damaged = bytearray(whole.read_bytes())
        start = int(at * len(damaged))
        for offset, value in enumerate(flipped[: len(damaged) - start]):
            damaged[start + offset] ^= value
        (directory / "sessions.db").write_bytes(damaged)
        try:
            store = SqliteSessions(directory)
        except StoreUnusable:
            return
        try:
            store.counts()
            for record in store.load():
                match record:
                    case SessionRecord(key, client_id, principal, uid, expiry, left_at):
                        assert all(isinstance(value, int) for value in (key, expiry))
                        assert all(isinstance(value, str) for value in (client_id, principal, uid))
                        assert left_at is None or isinstance(left_at, float)
                    case MessageRecord():
                        assert isinstance(record.payload, bytes)
                        assert isinstance(record.properties, dict)
        except StoreUnusable:
            pass
        finally:
            store.close()


# ---- the directory


def test_a_file_in_place_of_the_directory(directory: Path) -> None:
    directory.write_text("not a directory")
    assert "can't be used: File exists" in refusal(directory)


def test_a_file_in_place_of_a_directory_above(directory: Path) -> None:
    directory.write_text("not a directory")
    with pytest.raises(StoreUnusable, match="can't be used: Not a directory"):
        SqliteSessions(directory / "below")


def test_one_broker_at_a_time(directory: Path) -> None:
    first = SqliteSessions(directory)
    with pytest.raises(StoreUnusable, match="another broker runs on it"):
        SqliteSessions(directory)
    assert write(first, batch(session(1))) is None
    first.close()
    second = SqliteSessions(directory)
    assert second.starts == 2
    assert list(second.load()) == [session(1)]
    second.close()


def test_only_its_owner_may_read_it(directory: Path) -> None:
    store = SqliteSessions(directory)
    assert write(store, batch(session(1))) is None
    assert directory.stat().st_mode & 0o077 == 0
    for path in directory.glob("sessions.db*"):
        assert path.stat().st_mode & 0o077 == 0, path
    store.close()


def test_what_a_first_start_that_was_killed_has_left_is_harmless(directory: Path) -> None:
    directory.mkdir()
    (directory / "lock").touch()
    (directory / "sessions.db.new").write_bytes(b"SQLite format 3\0 and so")
    (directory / "sessions.db.new-journal").write_bytes(os.urandom(2048))
    store = SqliteSessions(directory)
    assert write(store, batch(session(1))) is None
    store.close()
    assert not list(directory.glob("sessions.db.new*"))


# ---- a disk that is full, or may not be written


def _mounted(directory: Path, options: str) -> bool:
    directory.mkdir(exist_ok=True)
    mounting = ["mount", "-t", "tmpfs", "-o", options, "none", str(directory)]
    return os.geteuid() == 0 and subprocess.run(mounting, check=False, capture_output=True).returncode == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    directory = tmp_path / "small"
    if not _mounted(directory, "size=1m"):
        pytest.skip("file systems can't be mounted here")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """Leave no room on a file system; the file that takes it."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return ballast


def test_on_a_full_disk_nothing_of_a_batch_is_stored_and_later_all_of_it(small: Path) -> None:
    store = SqliteSessions(small / "s")
    assert write(store, batch(session(1))) is None
    ballast = fill(small)
    large = batch(session(2), *(message(key, 4096) for key in range(10, 40)))
    for _ in range(3):
        assert isinstance(write(store, large), sqlite3.Error)
        assert list(store.load()) == [session(1)]
    ballast.unlink()
    assert write(store, large) is None
    store.close()
    again = SqliteSessions(small / "s")
    assert sorted(map(repr, again.load())) == sorted(
        map(repr, [session(1), *large.saved[SessionRecord], *large.saved[MessageRecord]])
    )
    again.close()


def test_on_a_full_disk_there_is_no_first_start(small: Path) -> None:
    ballast = fill(small)
    with pytest.raises(StoreUnusable, match=r"no session store can be made|can't be used"):
        SqliteSessions(small / "s")
    ballast.unlink()
    store = SqliteSessions(small / "s")
    assert store.starts == 1
    store.close()


def test_a_file_system_that_is_read_only(small: Path) -> None:
    filled(small / "s", 50)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(StoreUnusable, match="Read-only file system"):
        SqliteSessions(small / "s")


# ---- what a power cut leaves


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A store as a killed broker leaves it, with 30 batches in the log; and how many."""
    directory, copy = tmp_path_factory.mktemp("torn") / "s", tmp_path_factory.mktemp("copy") / "s"
    store = SqliteSessions(directory)
    batches = 30
    for number in range(1, batches + 1):
        first = number * 100
        records = [message(first + each, 50 + 97 * each) for each in range(1 + number % 5)]
        entries = [EntryRecord(each.key + 50, number, each.key, 0, 1, False, (), "") for each in records]
        assert write(store, batch(session(number), *records, *entries)) is None
    shutil.copytree(directory, copy)
    store.close()
    (copy / "sessions.db-shm").unlink()  # memory, which a power cut takes
    return copy, batches


@settings(max_examples=120, deadline=None)
@given(keep=st.floats(0, 1), garbage=st.binary(max_size=300))
def test_of_a_torn_log_the_batches_up_to_some_point_are_there_and_each_is_whole(
    torn: tuple[Path, int], keep: float, garbage: bytes
) -> None:
    source, batches = torn
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made) / "s"
        shutil.copytree(source, directory)
        log = directory / "sessions.db-wal"
        size = log.stat().st_size
        os.truncate(log, round(size * keep))
        with log.open("ab") as file:
            file.write(garbage)
        store = SqliteSessions(directory)
        found = list(store.load())
        store.close()
    there = sum(isinstance(record, SessionRecord) for record in found)
    assert [record.key for record in found if isinstance(record, SessionRecord)] == list(range(1, there + 1))
    bodies = [number * 100 + each for number in range(1, there + 1) for each in range(1 + number % 5)]
    assert [record.key for record in found if isinstance(record, MessageRecord)] == bodies
    assert [record.key for record in found if isinstance(record, EntryRecord)] == [key + 50 for key in bodies]
    if keep == 1.0:
        assert there == batches


def test_a_killed_process_leaves_all_that_was_durable(torn: tuple[Path, int], tmp_path: Path) -> None:
    source, batches = torn
    shutil.copytree(source, tmp_path / "s")
    store = SqliteSessions(tmp_path / "s")
    assert store.counts()[SessionRecord] == batches
    store.close()


def test_the_file_says_whose_it_is(directory: Path) -> None:
    """`file(1)` and an operator with `sqlite3` can tell; other versions of ours rely on it."""
    header = filled(directory, 50).read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == VERSION
