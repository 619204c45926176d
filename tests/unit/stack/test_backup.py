"""`stack.backup.manifest`: a backup that is not what was written is told from one that is."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import bson
import pytest

from stack.backup.manifest import NAME, BackupDamaged, CollectionEntry, FileEntry, Manifest, documents, inside, verify

FILE = "collections/messages.bson.gz"
DOCUMENTS = [{"_id": str(number), "body": {"text": "안녕하세요 👋"}} for number in range(100)]


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    data = gzip.compress(b"".join(map(bson.encode, DOCUMENTS)), mtime=0)
    (tmp_path / "collections").mkdir()
    (tmp_path / FILE).write_bytes(data)
    Manifest(
        "2026-05-01T12:00:00+00:00",
        "0.1.0",
        "6.0.5",
        "pabal",
        8,
        (1_777_636_800, 1),
        [CollectionEntry("messages", FILE, len(DOCUMENTS), [{"name": "_id_", "key": {"_id": 1}}], {})],
        [FileEntry(FILE, len(data), hashlib.sha256(data).hexdigest())],
    ).write(tmp_path)
    return tmp_path


def test_a_whole_backup(backup: Path) -> None:
    read: list[tuple[str, int]] = []
    found = verify(backup, lambda *told: read.append(told))
    assert found == Manifest.read(backup)
    assert sum(size for _, size in read) == (backup / FILE).stat().st_size
    assert [bson.decode(document) for document in documents(backup / FILE)] == DOCUMENTS


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda backup: flip(backup / FILE, 50), "SHA-256 differs"),
        (lambda backup: flip(backup / FILE, -1), "SHA-256 differs"),
        (lambda backup: cut(backup / FILE), "bytes, the manifest says"),
        (lambda backup: (backup / FILE).unlink(), "is missing"),
        (lambda backup: cut(backup / NAME), None),
        (lambda backup: (backup / NAME).unlink(), "no manifest.json"),
        (lambda backup: (backup / NAME).write_text('{"format": 1, "checksum": "x"}'), "checksum differs"),
        (lambda backup: (backup / NAME).write_text('{"format": 2, "checksum": "x"}'), "of format 2"),
        (lambda backup: (backup / NAME).write_text("[]"), "can't be read"),
    ],
)
def test_damage_is_found(backup: Path, damage: Callable[[Path], None], why: str | None) -> None:
    damage(backup)
    if why is None:
        assert verify(backup, lambda *_: None), "the last byte of the manifest is a line feed"
        return
    with pytest.raises(BackupDamaged, match=why):
        verify(backup, lambda *_: None)


def test_any_flipped_bit_of_the_manifest_is_found(backup: Path) -> None:
    text = (backup / NAME).read_bytes()
    found = Manifest.read(backup)
    for position in range(0, len(text), 7):
        changed = bytearray(text)
        changed[position] ^= 1
        (backup / NAME).write_bytes(changed)
        try:
            assert Manifest.read(backup) == found, "only what means nothing (white space) may differ"
        except BackupDamaged:
            continue


@pytest.mark.parametrize("tail", [b"\x05", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", bson.encode({"a": 1})[:-1]])
def test_what_is_no_document_is_found(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "x.bson.gz"
    path.write_bytes(gzip.compress(bson.encode({"a": 1}) + tail))
    with pytest.raises(BackupDamaged):
        list(documents(path))


def test_a_wrong_count_is_found(backup: Path) -> None:
    body = json.loads((backup / NAME).read_bytes())
    (backup / NAME).unlink()
    found = Manifest(
        "", "", "", "pabal", 8, (0, 0), [CollectionEntry("messages", FILE, 99, [], {})], [FileEntry(**body["files"][0])]
    )
    found.write(backup)
    with pytest.raises(BackupDamaged, match="100 documents, the manifest says 99"):
        verify(backup, lambda *_: None)


def test_no_path_leads_out(tmp_path: Path) -> None:
    assert inside(tmp_path, "keys/a.pem") == tmp_path / "keys/a.pem"
    for path in ("../a", "/etc/passwd", "keys/../../a"):
        with pytest.raises(BackupDamaged):
            inside(tmp_path, path)
