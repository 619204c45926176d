"""`pabal backup restore`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.database import Database

from stack import ports, replica_set, servers
from stack.backup.create import SESSIONS
from stack.backup.manifest import CollectionEntry, Manifest, Progress, documents, inside, verify
from stack.ports import Address
from stack.state import State

BATCH_BYTES = 8 << 20
BATCH_DOCUMENTS = 2_000
"""Per insert: far below the 48 MB and 100,000 documents of a command."""

READY_SECONDS = 60.0
STOP_SECONDS = 60.0

Document = dict[str, Any]


class RestoreRefused(Exception):
    """It would overwrite something, or can't be done; the text says what."""


def restore(
    backup: Path, *, state: State, mongo_url: str | None, database: str, replace: bool, told: Progress
) -> Manifest:
    """Put a backup into a state directory whose stack does not run, or into a database elsewhere; the caller holds its lock.

    Args:
        mongo_url: a replica set that runs elsewhere; None: our own mongod on the state directory.
        replace: throw away what is there.

    Raises:
        BackupDamaged: found before anything is touched.
        RestoreRefused: there is something already.
        OSError, PyMongoError: it is not whole; `pabal up` refuses to run on the state directory until a restore was.
    """
    manifest = verify(backup, lambda _file, _bytes: None)
    _check_files(backup, manifest, state, replace=replace)
    state.create()
    with contextlib.ExitStack() as stack:
        url = mongo_url or stack.enter_context(_own_mongod(state))
        client = stack.enter_context(
            MongoClient[Document](url, serverSelectionTimeoutMS=10_000, w="majority", journal=True)
        )
        there = client[database].list_collection_names()
        if there and not replace:
            raise RestoreRefused(
                f"the database {database} has {len(there)} collections already: restore into an empty one, "
                "or throw away everything that is in it with --replace-everything"
            )
        state.restoring.touch()
        if there:
            client.drop_database(database)
        for entry in manifest.collections:
            _collection(backup, client[database], entry, told)
        _place_files(backup, manifest, state, replace=replace)
    state.restoring.unlink()
    return manifest


@contextlib.contextmanager
def _own_mongod(state: State) -> Iterator[str]:
    """A mongod on the state directory for as long as it takes, on a port that nobody knows."""
    address = Address("127.0.0.1", ports.free_port())
    argv = servers.mongod_command(servers.find_mongod(), state.directory("mongo"), address, cache_gb=0.5)
    with state.log("restore").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 -- our own command
            servers.launched(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                replica_set.ensure([address], seconds=1.0)
                break
            except replica_set.SetIsLarger:
                raise RestoreRefused(
                    f"{state.root} has the data of three nodes: restore into another --state"
                ) from None
            except TimeoutError:
                pass  # it is starting
            if process.poll() is not None or time.monotonic() > deadline:
                raise RestoreRefused(f"mongod does not run on {state.directory('mongo')}: see {state.log('restore')}")
        yield replica_set.url([address])
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _collection(backup: Path, db: Database[Document], entry: CollectionEntry, told: Progress) -> None:
    """Its documents, then its indexes, which are built faster over what is there."""
    options = json_util.loads(json.dumps(entry.options))
    db.create_collection(entry.name, **options)
    raw = db[entry.name].with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    batch: list[RawBSONDocument] = []
    size = 0
    for document in documents(backup / entry.file):
        batch.append(RawBSONDocument(document))
        size += len(document)
        if size >= BATCH_BYTES or len(batch) >= BATCH_DOCUMENTS:
            raw.insert_many(batch, ordered=False)
            told(entry.name, len(batch))
            batch, size = [], 0
    if batch:
        raw.insert_many(batch, ordered=False)
        told(entry.name, len(batch))
    indexes = [index for index in json_util.loads(json.dumps(entry.indexes)) if index["name"] != "_id_"]
    if indexes:
        db.command("createIndexes", entry.name, indexes=indexes)
    found = db[entry.name].count_documents({})
    if found != entry.documents and not any("expireAfterSeconds" in index for index in indexes):
        raise RestoreRefused(f"{entry.name} has {found} documents after the restore, the backup {entry.documents}")


def _targets(backup: Path, manifest: Manifest, state: State) -> Iterator[tuple[Path, Path, int]]:
    """Source, target and permissions of each file that is no collection."""
    for entry in manifest.files:
        if entry.path == SESSIONS:
            yield backup / SESSIONS, state.directory("broker") / "sessions" / SESSIONS, entry.mode
        elif entry.path.startswith("files/"):
            yield backup / entry.path, inside(state.root, entry.path.removeprefix("files/")), entry.mode


def _check_files(backup: Path, manifest: Manifest, state: State, *, replace: bool) -> None:
    there = [target for _, target, _ in _targets(backup, manifest, state) if target.exists()]
    if there and not replace:
        raise RestoreRefused(
            f"{there[0]} is there already ({len(there)} such files): restore into another --state, "
            "or throw away everything that is in it with --replace-everything"
        )


def _place_files(backup: Path, manifest: Manifest, state: State, *, replace: bool) -> None:
    if replace:  # a key that is there and not in the backup would go on signing
        for name in {Path(entry.path).parts[1] for entry in manifest.files if entry.path.startswith("files/")}:
            shutil.rmtree(state.root / name, ignore_errors=True)
    sessions = state.directory("broker") / "sessions"
    if replace or any(
        entry.path == SESSIONS for entry in manifest.files
    ):  # what waits there may not be in this history
        shutil.rmtree(sessions, ignore_errors=True)  # its log and index belong to another file of that name
    for source, target, mode in _targets(backup, manifest, state):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = target.with_name(f".{target.name}.restored")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file, source.open("rb") as data:
            shutil.copyfileobj(data, file)
            file.flush()
            os.fsync(descriptor)
        draft.replace(target)
