"""A real mongod that asks for passwords becomes a set with one user."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from stack import mongo_init, ports, servers
from stack.ports import Address
from tests.conftest import running, unavailable


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text("bWVtYmVy" * 8 + "\n")
    file.chmod(0o400)
    return file


@pytest.fixture(scope="module")
def node(key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    try:
        binary = servers.find_mongod()
    except servers.BinaryMissing as missing:
        unavailable(str(missing))
    directory, address = tmp_path_factory.mktemp("mongo"), Address("127.0.0.1", ports.free_port())
    (directory / "data").mkdir()
    argv = servers.mongod_command(binary, directory / "data", address, cache_gb=0.25)
    with running([*argv, "--auth", "--keyFile", str(key)], directory / "log", ready=lambda: None):
        yield address


def run(node: Address, key: Path, monkeypatch: pytest.MonkeyPatch, *, user: str) -> int:
    monkeypatch.setenv("PABAL_MONGO_URL", f"mongodb://{user}@{node}/?replicaSet=pabal&authSource=admin")
    monkeypatch.setenv("PABAL_MONGO_KEY_FILE", str(key))
    return mongo_init.main([str(node)])


def client(node: Address, password: str) -> MongoClient[dict[str, Any]]:
    return MongoClient(f"mongodb://pabal:{password}@{node}/?replicaSet=pabal&authSource=admin", w="majority")


def test_it_makes_the_set_and_the_user_and_may_run_again(
    node: Address, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(node, key, monkeypatch, user="pabal:first-password") == 0
    with client(node, "first-password") as own:
        own.pabal.things.insert_one({"_id": "안녕"})
        with pytest.raises(OperationFailure, match="not authorized"):
            own.elsewhere.things.insert_one({"_id": "안녕"})
    assert run(node, key, monkeypatch, user="pabal:second-password") == 0
    with client(node, "second-password") as own:
        assert own.pabal.things.count_documents({}) == 1
    with client(node, "first-password") as own, pytest.raises(OperationFailure, match="Authentication failed"):
        own.pabal.things.count_documents({})
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "the set of 1 works; the user pabal was made",
        "the set of 1 works; the user pabal is there",
    ]
    assert err == ""


def test_with_another_key_it_says_so(
    node: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.write_text("c3RyYW5nZXI=")
    assert run(node, other, monkeypatch, user="pabal:first-password") == 1
    _, err = capsys.readouterr()
    assert "Authentication failed" in err
    assert "password" not in err
    assert "c3RyYW5nZXI" not in err


@pytest.mark.parametrize("user", ["", "pabal@", "pabal:@"])
def test_a_url_without_a_user_or_password_is_refused(
    user: str, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PABAL_MONGO_URL", f"mongodb://{user}localhost/")
    monkeypatch.setenv("PABAL_MONGO_KEY_FILE", str(key))
    assert mongo_init.main(["localhost:1"]) == 1
    assert "needs a user name and a password" in capsys.readouterr().err


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("PABAL_MONGO_URL", raising=False)
    monkeypatch.delenv("PABAL_MONGO_KEY_FILE", raising=False)
    assert mongo_init.main(["localhost:1"]) == 1
    assert capsys.readouterr().err == "mongo-init: needs PABAL_MONGO_URL, PABAL_MONGO_KEY_FILE\n"
