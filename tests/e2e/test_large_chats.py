"""Receipts of a chat above the threshold on the real stack: counts, status, a bridge that is killed, and what is written for it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from chat.envelopes import ReceiptUpdate
from chat.models import EVERYBODY
from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.faults.people import Person, people

pytestmark = pytest.mark.e2e

COUNT, NAMED = 5, 3


@pytest.fixture(scope="module")
def stack(module_stacks: Stacks) -> RunningStack:
    return module_stacks(env={"PABAL_BRIDGE_RECEIPTS_NAMED": str(NAMED)})


@pytest.fixture
def database(stack: RunningStack) -> Iterator[Any]:
    with MongoClient[dict[str, Any]](stack.info["mongo_url"]) as client:
        yield client["pabal"]


def until(condition: Callable[[], bool], why: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)


def watermarks(database: Any, chat: str) -> dict[str, tuple[int, int]]:
    rows = database.members.find({"chat_id": chat})
    return {row["user_id"]: (row["delivered_seq"], row["seen_seq"]) for row in rows}


def write(everybody: list[Person], chat: str, count: int, texts: str = "모두에게") -> int:
    """So many messages, received by all; the `seq` of the last."""
    ids = [everybody[0].client.send(chat, text=f"{texts} {number}", timeout=60).id for number in range(count)]
    seqs = []
    for person in everybody:
        while (event := person.client.next_event(60)) is not None and event.id != ids[-1]:
            pass
        assert event is not None
        seqs.append(event.seq)
    return max(seqs)


def test_counts_status_and_a_killed_bridge(stack: RunningStack, database: Any) -> None:
    told: list[ReceiptUpdate] = []
    with people(stack, COUNT) as ((chat,), everybody):
        everybody[1].client.on_receipt = told.append
        last = write(everybody, chat, 20)
        until(lambda: {mark[0] for mark in watermarks(database, chat).values()} == {last}, "all have received it")
        until(lambda: any((one.seq, one.delivered) == (last, COUNT) for one in told), "and are told so")
        until(lambda: everybody[0].api.history(chat).items[-1].status == "DELIVERED", "and their sender sees it")

        for person in everybody[1:]:
            person.client.seen(chat, last)
        until(lambda: everybody[0].api.history(chat).items[-1].seen_at is not None, "when all saw it is known")
        newest = everybody[0].api.history(chat).items[-1]
        assert newest.status == "SEEN"
        assert newest.at <= newest.delivered_at <= newest.seen_at  # type: ignore[operator]

        before = watermarks(database, chat)
        write(everybody, chat, 5, "죽기 전에")
        os.kill(stack.refresh()["processes"]["bridge"], signal.SIGKILL)  # it holds back who has received these
        last = write(everybody, chat, 1, "다시")
        until(
            lambda: {mark[0] for mark in watermarks(database, chat).values()} == {last},
            "the next message makes it good",
        )
        after = watermarks(database, chat)
        assert all(after[user] >= before[user] for user in before)
        until(lambda: any((one.seq, one.delivered) == (last, COUNT) for one in told), "and is told")

    assert not [one for one in told if one.marks], "nobody is named"
    for seq in {one.seq for one in told}:
        counts = [one.delivered or 0 for one in told if one.seq == seq]
        assert counts == sorted(counts), "what is told never falls"
    assert set(database.receipts.distinct("user_id", {"chat_id": chat})) == {EVERYBODY}
