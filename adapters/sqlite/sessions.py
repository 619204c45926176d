"""Sessions on disk: SQLite in WAL mode, in a directory of its own.

| file | what |
|---|---|
| `sessions.db` | the tables below; `application_id` and `user_version` say whose and which |
| `sessions.db-wal`, `-shm` | SQLite's own: commits that are not in the file yet |
| `lock` | held by the broker that runs on it |

One table per record of `mqtt/store.py`, one column per field; `properties` and `identifiers` are MessagePack. `meta` holds
`starts`. Every batch is one transaction, and is synced to the disk before it counts as done (`synchronous=FULL`): it
survives power loss as far as the disk keeps what it has synced. The tables are STRICT, so that the check at the start finds
values that are not of their column's type.

One thread writes. Rows go in by statements of many rows, because SQLite gives the interpreter back to the other thread
for each statement, and gets it again only when that one pauses.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, cast

import msgspec

from mqtt.packets import Properties
from mqtt.store import (
    KEY_FIELDS,
    KINDS,
    Batch,
    EntryRecord,
    HeldRecord,
    Key,
    MessageRecord,
    NameRecord,
    Record,
    RetainedRecord,
    SessionRecord,
    StoreUnusable,
    SubscriptionRecord,
    WillRecord,
)

APPLICATION_ID = 0x50424C31
"""`PBL1`, in SQLite's header."""

VERSION = 1

_NEW = "sessions.db.new"
_HALF_MADE = (_NEW, f"{_NEW}-journal")
"""What a process that was killed while it made the store has left."""

_TABLES: dict[type[Record], str] = {
    SessionRecord: "sessions",
    SubscriptionRecord: "subscriptions",
    MessageRecord: "messages",
    EntryRecord: "entries",
    HeldRecord: "held",
    NameRecord: "names",
    WillRecord: "wills",
    RetainedRecord: "retained",
}
_OWNED = ("subscriptions", "held", "names", "wills")
"""Tables whose rows go with their session."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE sessions (key INTEGER PRIMARY KEY, client_id TEXT NOT NULL, principal TEXT NOT NULL, uid TEXT NOT NULL,
    expiry INTEGER NOT NULL, left_at REAL) STRICT;
CREATE TABLE subscriptions (session INTEGER, text TEXT, qos INTEGER NOT NULL, no_local INTEGER NOT NULL,
    retain_as_published INTEGER NOT NULL, identifiers BLOB NOT NULL, PRIMARY KEY (session, text)) WITHOUT ROWID, STRICT;
CREATE TABLE messages (key INTEGER PRIMARY KEY, topic TEXT NOT NULL, payload BLOB NOT NULL, qos INTEGER NOT NULL,
    retain INTEGER NOT NULL, properties BLOB NOT NULL, expires_at REAL, mark INTEGER, publisher TEXT NOT NULL) STRICT;
CREATE TABLE entries (key INTEGER PRIMARY KEY, session INTEGER NOT NULL, message INTEGER, packet_id INTEGER NOT NULL,
    awaits INTEGER NOT NULL, retain INTEGER NOT NULL, identifiers BLOB NOT NULL, share TEXT NOT NULL) STRICT;
CREATE TABLE held (session INTEGER, packet_id INTEGER, PRIMARY KEY (session, packet_id)) WITHOUT ROWID, STRICT;
CREATE TABLE names (session INTEGER, packet_id INTEGER, number INTEGER NOT NULL,
    PRIMARY KEY (session, packet_id)) WITHOUT ROWID, STRICT;
CREATE TABLE wills (session INTEGER PRIMARY KEY, service INTEGER NOT NULL, due_at REAL, topic TEXT NOT NULL,
    payload BLOB NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL, properties BLOB NOT NULL) STRICT;
CREATE TABLE retained (topic TEXT PRIMARY KEY, message INTEGER NOT NULL) WITHOUT ROWID, STRICT;
INSERT INTO meta VALUES ('starts', 0);
"""

_ROWS = (256, 32, 4, 1)
"""Rows per statement: few different statements, so that each is compiled once, and at most 3,000 variables in one."""

_encode = msgspec.msgpack.Encoder().encode
_properties = msgspec.msgpack.Decoder(Properties).decode
_identifiers = msgspec.msgpack.Decoder(tuple[int, ...]).decode
_NO_PROPERTIES, _NO_IDENTIFIERS = _encode({}), _encode(())


class SqliteSessions:
    """The session store of one broker.

    Args:
        directory: of the store alone; made when it is missing.

    Raises:
        StoreUnusable: what is there can't be used; it is left as it is.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = _take(directory)
        try:
            self._database, self.starts = _opened(directory / "sessions.db")
        except BaseException:
            self._lock.close()
            raise
        self._work: SimpleQueue[tuple[Batch, Callable[[Exception | None], None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="session-store", daemon=True)
        self._thread.start()

    def counts(self) -> dict[type[Record], int]:
        """How many records of each kind there are.

        Raises:
            StoreUnusable: they can't be read.
        """
        try:
            return {
                kind: self._database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - our own names
                for kind, table in _TABLES.items()
            }
        except sqlite3.Error as error:
            raise StoreUnusable(f"the session store is damaged: {error}") from error

    def load(self) -> Iterator[Record]:
        """Every record, in the order of `KINDS`, entries by key.

        Raises:
            StoreUnusable: a record can't be read.
        """
        try:
            for kind in KINDS:
                order = ", ".join(kind._fields[: KEY_FIELDS[kind]])
                for row in self._database.execute(f"SELECT * FROM {_TABLES[kind]} ORDER BY {order}"):  # noqa: S608
                    yield _record(kind, row)
        except (sqlite3.Error, msgspec.MsgspecError, UnicodeDecodeError, LookupError, TypeError) as error:
            # The last two: other columns. The third: a reader of JSON says it of a text that it must name in its own error.
            raise StoreUnusable(f"the session store is damaged: {error}") from error

    def write(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        """Make a batch durable; `done` is called on the writing thread."""
        self._work.put((batch, done))

    def close(self) -> None:
        """Finish what is being written, and let go of the directory."""
        self._work.put(None)
        self._thread.join()
        self._database.close()
        self._lock.close()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            batch, done = work
            failure: Exception | None = None
            try:
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE")
                    self._apply(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, the batch is not stored, and who waits is told
                failure = error
            done(failure)

    def _apply(self, batch: Batch) -> None:
        for kind, records in batch.saved.items():
            columns = len(kind._fields)
            insert = f"INSERT OR REPLACE INTO {_TABLES[kind]} VALUES "  # noqa: S608 - our own names
            row = f"({', '.join('?' * columns)})"
            self._in_chunks(insert, row, "", [_row(record) for record in records])
        for kind, keys in batch.forgotten.items():
            fields = kind._fields[: KEY_FIELDS[kind]]
            self._forget(_TABLES[kind], fields, keys)
            if kind is SessionRecord:
                for table in _OWNED:
                    self._forget(table, ("session",), keys)

    def _forget(self, table: str, fields: Sequence[str], keys: list[Key]) -> None:
        rows = [key if isinstance(key, tuple) else (key,) for key in keys]
        delete = f"DELETE FROM {table} WHERE ({', '.join(fields)}) IN (VALUES "  # noqa: S608 - our own names
        self._in_chunks(delete, f"({', '.join('?' * len(fields))})", ")", rows)

    def _in_chunks(self, start: str, row: str, end: str, rows: Sequence[Sequence[Any]]) -> None:
        position = 0
        for size in _ROWS:
            while len(rows) - position >= size:
                values = [value for each in rows[position : position + size] for value in each]
                self._database.execute(start + ", ".join([row] * size) + end, values)
                position += size


def _row(record: Record) -> Sequence[Any]:
    if isinstance(record, EntryRecord):
        packed = _encode(record.identifiers) if record.identifiers else _NO_IDENTIFIERS
        return (*record[:6], packed, record.share)
    if isinstance(record, MessageRecord | WillRecord):
        packed = _encode(record.properties) if record.properties else _NO_PROPERTIES
        return record._replace(properties=cast("Properties", packed))
    if isinstance(record, SubscriptionRecord):
        return (*record[:5], _encode(record.identifiers))
    return record


def _unpacked_identifiers(packed: bytes) -> tuple[int, ...]:
    return () if packed == _NO_IDENTIFIERS else _identifiers(packed)


_READ: dict[str, Callable[[Any], object]] = {
    **dict.fromkeys(("retain", "no_local", "retain_as_published", "service"), bool),
    "properties": _properties,
    "identifiers": _unpacked_identifiers,
}
"""What a field is read with that SQLite does not give back as it was."""

_READERS = {kind: [(n, _READ[name]) for n, name in enumerate(kind._fields) if name in _READ] for kind in KINDS}


def _record(kind: type[Record], row: tuple[Any, ...]) -> Record:
    values = list(row)
    for position, read in _READERS[kind]:
        values[position] = read(values[position])
    return kind._make(values)


def _take(directory: Path) -> IO[str]:
    """The lock of a directory that holds a store, or nothing yet."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        strange = {path.name for path in directory.iterdir()} - {"lock", *_HALF_MADE}
        if strange and "sessions.db" not in strange:
            raise StoreUnusable(f"{directory} holds other files but no session store ({min(strange)}, …)")
        lock = (directory / "lock").open("a+")
    except OSError as error:
        raise StoreUnusable(f"the state directory {directory} can't be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        why = "another broker runs on it" if isinstance(error, BlockingIOError) else f"no lock: {error.strerror}"
        raise StoreUnusable(f"the state directory {directory} can't be used: {why}") from error
    return lock


def _opened(path: Path) -> tuple[sqlite3.Connection, int]:
    """The database, after it was looked at, and how often it has been opened."""
    if not path.exists():
        _create(path)
    try:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        try:
            _check(database, path)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA journal_size_limit = 67108864")
            return database, _count_start(database, path)
        except BaseException:
            database.close()
            raise
    except (sqlite3.Error, UnicodeError) as error:  # of a damaged file SQLite may say things that are no text
        raise StoreUnusable(f"{path} can't be used: {error}") from error


def _count_start(database: sqlite3.Connection, path: Path) -> int:
    database.execute("UPDATE meta SET value = value + 1 WHERE name = 'starts'")
    row = database.execute("SELECT value FROM meta WHERE name = 'starts'").fetchone()
    if row is None:
        raise StoreUnusable(f"{path} is damaged: it does not say how often it was opened")
    return int(row[0])


def _check(database: sqlite3.Connection, path: Path) -> None:
    (owner,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        raise StoreUnusable(f"{path} is not a session store of Pabal")
    if version != VERSION:
        raise StoreUnusable(f"{path} is of version {version}, this broker knows version {VERSION}")
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreUnusable(f"{path} is damaged: {verdict}")
    (page,) = database.execute("PRAGMA page_size").fetchone()
    log = path.with_name(f"{path.name}-wal")
    if path.stat().st_size % page and not (log.exists() and log.stat().st_size):
        # SQLite takes what is missing of the last page for zeros. With a log, the page is there as well.
        raise StoreUnusable(f"{path} is damaged: it ends in the middle of a page")


def _create(path: Path) -> None:
    """An empty store, which has its name only once it is whole: a file with that name is never half made."""
    new = path.with_name(_NEW)
    try:
        for name in _HALF_MADE:
            path.with_name(name).unlink(missing_ok=True)
        database = sqlite3.connect(new, isolation_level=None)
        with contextlib.closing(database):
            database.executescript(
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; BEGIN; {_SCHEMA} COMMIT;"
            )
        new.chmod(0o600)
        new.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"no session store can be made in {path.parent}: {error}") from error
