"""What a backup says about itself, and whether that is true. No database is asked."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

FORMAT = 1
NAME = "manifest.json"

BLOCK = 1 << 20
"""Bytes that are read at once."""

MAX_DOCUMENT = 17 << 20
"""Bytes: MongoDB's own bound is 16 MiB and a little; a length beyond it is damage, and nothing to make room for."""

Progress = Callable[[str, int], None]
"""Told a file and how many bytes of it were just worked on."""


class BackupDamaged(Exception):
    """It is no backup, or not what was written; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: its path below the backup, bytes, SHA-256 in hex, permissions."""

    path: str
    size: int
    sha256: str
    mode: int = 0o600


@dataclass(frozen=True, slots=True)
class CollectionEntry:
    """One collection: its file, how many documents it has, its indexes and options as extended JSON."""

    name: str
    file: str
    documents: int
    indexes: list[Any]
    options: Any


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of it.

    Attributes:
        made_at: ISO 8601, UTC.
        pabal, server: versions.
        schema: the newest migration that the database has had.
        cluster_time: of the snapshot: seconds since 1970, and the number within the second.
    """

    made_at: str
    pabal: str
    server: str
    database: str
    schema: int
    cluster_time: tuple[int, int]
    collections: list[CollectionEntry] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)

    def write(self, backup: Path) -> None:
        """Put it beside what it describes."""
        body: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        body["checksum"] = _checksum(body)
        path = backup / NAME
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(body, indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o600)

    @classmethod
    def read(cls, backup: Path) -> Manifest:
        """The manifest of a backup.

        Raises:
            BackupDamaged: there is none, or it is not as it was written.
        """
        try:
            body = json.loads((backup / NAME).read_bytes())
            told = body.pop("checksum")
            if body.get("format") != FORMAT:
                raise BackupDamaged(f"{NAME} is of format {body.get('format')}, this Pabal reads {FORMAT}")
            if _checksum(body) != told:
                raise BackupDamaged(f"{NAME} is not as it was written: its checksum differs")
            del body["format"]
            body["collections"] = [CollectionEntry(**entry) for entry in body["collections"]]
            body["files"] = [FileEntry(**entry) for entry in body["files"]]
            body["cluster_time"] = tuple(body["cluster_time"])
            return cls(**body)
        except FileNotFoundError:
            raise BackupDamaged(f"{backup} has no {NAME}: it is no backup, or one that was not finished") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackupDamaged(f"{NAME} can't be read: {type(error).__name__}") from None


def _checksum(body: dict[str, Any]) -> str:
    """Against accidents: whoever changes a manifest on purpose can change this too."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def verify(backup: Path, told: Progress) -> Manifest:
    """Read everything, and compare it with the manifest: sizes, checksums, that it unpacks, and the number of documents.

    Raises:
        BackupDamaged: at the first difference.
        OSError: a file can't be read.
    """
    manifest = Manifest.read(backup)
    for entry in manifest.files:
        _verify_file(backup, entry, told)
    for collection in manifest.collections:
        count = sum(1 for _ in documents(backup / collection.file))
        if count != collection.documents:
            raise BackupDamaged(f"{collection.file} has {count} documents, the manifest says {collection.documents}")
    return manifest


def _verify_file(backup: Path, entry: FileEntry, told: Progress) -> None:
    path, digest, size = inside(backup, entry.path), hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                size += len(block)
                told(entry.path, len(block))
    except FileNotFoundError:
        raise BackupDamaged(f"{entry.path} is missing") from None
    if size != entry.size:
        raise BackupDamaged(f"{entry.path} has {size} bytes, the manifest says {entry.size}")
    if digest.hexdigest() != entry.sha256:
        raise BackupDamaged(f"{entry.path} is not as it was written: its SHA-256 differs")


def inside(directory: Path, relative: str) -> Path:
    """A path below a directory.

    Raises:
        BackupDamaged: it leads out of it.
    """
    path = directory / relative
    if not path.resolve().is_relative_to(directory.resolve()):
        raise BackupDamaged(f"{relative} leads out of {directory}")
    return path


def documents(path: Path) -> Iterator[bytes]:
    """Each document of a collection's file, as BSON.

    Raises:
        BackupDamaged: it does not unpack, or ends in the middle of a document.
    """
    try:
        with gzip.open(path, "rb") as file:
            while head := file.read(4):
                yield _document(file, head, path.name)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BackupDamaged(f"{path.name} does not unpack: {type(error).__name__}") from None


def _document(file: BinaryIO | gzip.GzipFile, head: bytes, name: str) -> bytes:
    length = struct.unpack("<i", head)[0] if len(head) == 4 else 0
    if not 5 <= length <= MAX_DOCUMENT:
        raise BackupDamaged(f"{name}: what stands where a document should begin is none")
    rest = file.read(length - 4)
    if len(rest) != length - 4:
        raise BackupDamaged(f"{name} ends in the middle of a document")
    return head + rest
