"""`pabal backup create`."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import importlib.metadata
import json
import os
import shutil
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from bson import json_util
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.monitoring import CommandListener

from stack.backup.manifest import BLOCK, CollectionEntry, FileEntry, Manifest, Progress
from stack.state import State

WINDOW_SECONDS = 6 * 3600
"""For so long the server keeps old versions while a backup runs: only what is changed meanwhile takes room for it."""

SNAPSHOT_GONE = {239, 246}
"""Server errors: the snapshot is older than what the server keeps."""

LEVEL = 3
"""Of gzip: 7 % larger than with 6, in less than half of the time (messages of random words)."""

KEPT = ("keys", "services", "ca", "vapid", "jwks.json", "broker-admin", "credentials.json")
"""Of the state directory: without the keys everybody has to sign in again and second factors can't be checked."""

SESSIONS = "sessions.db"

Document = dict[str, Any]


class BackupFailed(Exception):
    """It could not be made; the text says why, and what to do."""


def create(
    backup: Path, *, mongo_url: str, database: str, state: State | None, sessions: Path | None, told: Progress
) -> Manifest:
    """Make a backup in a directory that is not there yet, or empty.

    Args:
        state: whose keys go along; None: none do.
        sessions: the broker's `sessions.db`; None: without.
        told: is told of each collection how many documents were just written.

    Raises:
        BackupFailed: it is not whole; what is there has no manifest.
    """
    try:
        backup.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(backup.iterdir()):
            raise BackupFailed(f"{backup} is not empty: a backup gets a directory of its own")
        backup.chmod(0o700)  # also of one that was there: keys are copied into it
        manifest = _of_database(backup, mongo_url, database, told)
        files = [*manifest.files, *(_files(backup, state) if state else ()), *_sessions(backup, sessions)]
        whole = replace(manifest, files=files)
        whole.write(backup)
    except OperationFailure as error:
        if error.code in SNAPSHOT_GONE:
            raise BackupFailed(
                "the server has thrown away what it had kept of the moment of this backup: "
                "raise minSnapshotHistoryWindowInSeconds on it beyond the time that a backup takes"
            ) from error
        raise BackupFailed(f"MongoDB refuses: {error.code} {type(error).__name__}") from error
    except PyMongoError as error:
        raise BackupFailed(f"MongoDB does not answer: {type(error).__name__}") from error
    except (OSError, sqlite3.Error) as error:
        raise BackupFailed(f"{backup} can't be written, or what belongs into it not be read: {error}") from error
    else:
        return whole


class _SnapshotTime(CommandListener):
    """Hears at which time the server reads: the driver keeps that to itself."""

    def __init__(self) -> None:
        self.time = (0, 0)

    def succeeded(self, event: Any) -> None:
        """See `CommandListener`."""
        found = event.reply.get("atClusterTime") or event.reply.get("cursor", {}).get("atClusterTime")
        if found is not None and self.time == (0, 0):
            self.time = (found.time, found.inc)

    def started(self, event: Any) -> None:
        """See `CommandListener`."""

    def failed(self, event: Any) -> None:
        """See `CommandListener`."""


def _of_database(backup: Path, mongo_url: str, name: str, told: Progress) -> Manifest:
    heard = _SnapshotTime()
    with MongoClient[Document](mongo_url, serverSelectionTimeoutMS=10_000, event_listeners=[heard]) as client:
        db = client[name]
        with _history(client), client.start_session(snapshot=True) as session:
            # The first read fixes the moment.
            schema = max(db["schema_migrations"].distinct("_id", session=session), default=0)
            made_at = datetime.now(UTC).isoformat(timespec="seconds")
            before = _collections(db)
            (backup / "collections").mkdir(mode=0o700)
            written = [_collection(backup, db, entry, session, told) for entry in before.values()]
        if _collections(db) != before:
            raise BackupFailed("collections or indexes changed meanwhile (an upgrade?): make it again")
        if not before:
            raise BackupFailed(f"there is no database {name}, or it is empty")
        version = str(client.server_info()["version"])
    return Manifest(
        made_at=made_at,
        pabal=importlib.metadata.version("pabal"),
        server=version,
        database=name,
        schema=int(schema),
        cluster_time=heard.time,
        collections=[collection for collection, _ in written],
        files=[file for _, file in written],
    )


def _collections(db: Database[Document]) -> dict[str, CollectionEntry]:
    """Every collection, by name, with its options and indexes; views are none, and there are none."""
    found = {}
    for row in db.list_collections(filter={"type": "collection"}):
        name = row["name"]
        if name.startswith("system."):
            continue
        indexes = [dict(index) for index in db[name].list_indexes()]
        found[name] = CollectionEntry(name, f"collections/{name}.bson.gz", 0, _plain(indexes), _plain(row["options"]))
    return dict(sorted(found.items()))


def _plain(value: Any) -> Any:
    """As extended JSON, which keeps BSON's types."""
    return json.loads(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS))


class _Hashed:
    """A file that knows its size and SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _collection(
    backup: Path, db: Database[Document], entry: CollectionEntry, session: ClientSession, told: Progress
) -> tuple[CollectionEntry, FileEntry]:
    path, count = backup / entry.file, 0
    with path.open("xb") as file:
        path.chmod(0o600)
        hashed = _Hashed(file)
        with gzip.GzipFile("", "wb", LEVEL, hashed, mtime=0) as packed:
            batches: Iterator[Any] = db[entry.name].find_raw_batches(
                {}, session=session
            )  # bytes, whatever its stubs say
            for batch in batches:
                packed.write(batch)
                some = _count(batch)
                count += some
                told(entry.name, some)
        file.flush()
        os.fsync(file.fileno())
    return replace(entry, documents=count), FileEntry(entry.file, hashed.size, hashed.digest.hexdigest())


def _count(batch: bytes) -> int:
    """Documents in a run of BSON: each begins with its length."""
    count = position = 0
    while position < len(batch):
        position += struct.unpack_from("<i", batch, position)[0]
        count += 1
    return count


@contextlib.contextmanager
def _history(client: MongoClient[Document]) -> Iterator[None]:
    """Every member keeps what is needed for reading in the past. Where we may not ask for it, what is set there has to do."""
    before: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        for host, port in sorted(client.nodes):
            node = stack.enter_context(
                MongoClient[Document](host, port, directConnection=True, serverSelectionTimeoutMS=2_000)
            )
            with contextlib.suppress(PyMongoError):
                asked = node.admin.command("getParameter", 1, minSnapshotHistoryWindowInSeconds=1)
                was = int(asked["minSnapshotHistoryWindowInSeconds"])
                if was < WINDOW_SECONDS:
                    node.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=WINDOW_SECONDS)
                    before[f"{host}:{port}"] = was
                    stack.callback(_put_back, node, was)
        yield


def _put_back(node: MongoClient[Document], seconds: int) -> None:
    with contextlib.suppress(PyMongoError):  # a node that has died meanwhile has its own value when it is back
        node.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=seconds)


def _files(backup: Path, state: State) -> list[FileEntry]:
    """Copies of what the state directory has beside the data."""
    sources = [state.root / name for name in KEPT]
    paths = [path for source in sources for path in (sorted(source.rglob("*")) if source.is_dir() else [source])]
    return [
        _copied(path, backup, f"files/{path.relative_to(state.root).as_posix()}") for path in paths if path.is_file()
    ]


def _copied(source: Path, backup: Path, name: str) -> FileEntry:
    target = backup / name
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copyfile(source, target)
    target.chmod(0o600)
    return _entry(target, name, source.stat().st_mode & 0o777)


def _entry(path: Path, name: str, mode: int = 0o600) -> FileEntry:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
        os.fsync(file.fileno())
    return FileEntry(name, path.stat().st_size, digest.hexdigest(), mode)


def _sessions(backup: Path, sessions: Path | None) -> list[FileEntry]:
    """The broker's sessions by SQLite's own way of copying a database that is written to."""
    if sessions is None:
        return []
    target = backup / SESSIONS
    with (
        contextlib.closing(sqlite3.connect(f"file:{sessions}?mode=ro", uri=True)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)
    target.chmod(0o600)
    return [_entry(target, SESSIONS)]


def count_documents(mongo_url: str, database: str) -> Mapping[str, int]:
    """About how many documents each collection has, for a progress bar.

    Raises:
        PyMongoError: the database does not answer.
    """
    with MongoClient[Document](mongo_url, serverSelectionTimeoutMS=10_000) as client:
        db = client[database]
        return {name: db[name].estimated_document_count() for name in db.list_collection_names()}
