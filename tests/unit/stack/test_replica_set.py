"""Real mongods: one becomes three, and never one again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from stack import ports, replica_set, servers
from stack.ports import Address
from tests.conftest import running, unavailable


@contextlib.contextmanager
def mongod(directory: Path) -> Iterator[Address]:
    try:
        binary = servers.find_mongod()
    except servers.BinaryMissing as missing:
        unavailable(str(missing))
    address = Address("127.0.0.1", ports.free_port())
    directory.mkdir()
    argv = servers.mongod_command(binary, directory, address, cache_gb=0.25)
    with running(argv, directory.with_suffix(".log"), ready=lambda: None):
        yield address


def test_one_node_grows_to_three_with_its_data_and_does_not_shrink(tmp_path: Path) -> None:
    with contextlib.ExitStack() as exit_:
        nodes = [exit_.enter_context(mongod(tmp_path / name)) for name in replica_set.NODES]
        replica_set.ensure(nodes[:1])
        with MongoClient[dict[str, object]](replica_set.url(nodes[:1]), w="majority") as client:
            client.test.things.insert_one({"_id": "안녕"})

        replica_set.ensure(nodes)
        with MongoClient[dict[str, object]](replica_set.url(nodes), w=3, wTimeoutMS=30_000) as client:
            client.test.things.insert_one({"_id": "파발"})  # on all three
            assert client.test.things.count_documents({}) == 2
        deadline = time.monotonic() + 30.0
        while (states := sorted(one.state for one in replica_set.members(nodes))) != [
            "PRIMARY",
            "SECONDARY",
            "SECONDARY",
        ]:
            assert time.monotonic() < deadline, states
            time.sleep(0.1)
        assert all(one.well for one in replica_set.members(nodes))
        assert [replica_set.member_problem(node) for node in nodes] == [None] * 3
        assert replica_set.problem(replica_set.url(nodes)) is None

        with pytest.raises(replica_set.SetIsLarger, match="--mongo-nodes 3"):
            replica_set.ensure(nodes[:1])


def test_a_node_that_is_not_there_is_a_problem_and_no_member() -> None:
    nobody = Address("127.0.0.1", ports.free_port())
    assert "does not answer" in str(replica_set.member_problem(nobody))
    assert replica_set.members([nobody]) == []
    assert "does not answer" in str(replica_set.problem(replica_set.url([nobody])))
