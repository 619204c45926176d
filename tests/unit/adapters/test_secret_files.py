from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from adapters.secret_files import PUBLIC, new_secret, write_file


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_file(tmp_path / "private", b"x")
        write_file(tmp_path / "public", b"x", mode=PUBLIC)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o644


def test_a_failed_write_leaves_the_old_content_and_no_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_file(tmp_path / "secret", b"old")

    def no_room(_handle: int) -> None:
        raise OSError("no room")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OSError, match="no room"):
        write_file(tmp_path / "secret", b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").read_bytes() == b"old"


def test_secrets_are_256_bits_and_differ() -> None:
    found = {new_secret() for _ in range(100)}
    assert len(found) == 100
    assert all(len(secret) == 43 for secret in found)
