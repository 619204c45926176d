"""A poison message on the real stack: parked, its cause removed, replayed, there once (P9, P4)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from pymongo import MongoClient

from chat.ids import new_message_id
from clients.python import ChatClient, SendRefused
from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.faults.people import people

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

POISON = "독이 든 편지 ☠"


def pabal(stack: RunningStack, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stack", "dead-letters", *words, "--state", str(stack.state.root)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def letters(stack: RunningStack) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(pabal(stack, "list", "--json").stdout)
    return found


def forbid(stack: RunningStack, text: str | None) -> None:
    """The database refuses a message with this text, for a reason that is none of the known ones."""
    validator = {"body.text": {"$ne": text}} if text else {}
    with MongoClient[dict[str, Any]](stack.info["mongo_url"]) as client:
        client["pabal"].command("collMod", "messages", validator=validator)


def stored(stack: RunningStack, chat: str) -> list[dict[str, Any]]:
    with MongoClient[dict[str, Any]](stack.info["mongo_url"]) as client:
        return list(client["pabal"]["messages"].find({"chat_id": chat}).sort("seq"))


@pytest.fixture(scope="module")
def poisoned(module_stacks: Stacks) -> RunningStack:
    """A stack of the module's own: dead letters are nobody's in particular."""
    return module_stacks()


def test_a_poison_message_is_parked_and_replayed_once(poisoned: RunningStack) -> None:
    stack = poisoned
    received: list[str] = []

    def heard(user: str, event: Any) -> None:
        if user != haneul.user:
            received.append(event.id)

    with people(stack, 2, heard=heard) as ((chat,), (one, _)):
        haneul = one.client
        forbid(stack, POISON)
        poison = new_message_id()
        around = [haneul.send_nowait(chat, text=f"이웃 {number}") for number in range(10)]
        with pytest.raises(SendRefused) as refused:
            send(haneul, chat, poison)
        assert refused.value.code == "dead_letter"
        around += [haneul.send_nowait(chat, text=f"이웃 {number}") for number in range(10)]
        assert all(future.result(30) for future in around), "its neighbours pass"

        letter = f"{haneul.user}:{poison}"
        assert [found["id"] for found in letters(stack)] == [letter]
        assert letter in pabal(stack, "list").stdout
        shown = pabal(stack, "show", letter)
        assert "parked" in shown.stdout
        assert POISON not in shown.stdout
        assert POISON in pabal(stack, "show", letter, "--payload").stdout

        again = pabal(stack, "replay", letter)
        assert again.returncode == 1, "the cause is still there"
        assert [line["what"] for line in letters(stack)[0]["history"]] == ["parked", "replayed", "parked", "refused"]

        forbid(stack, None)
        done = json.loads(pabal(stack, "replay", letter, "--json").stdout)
        assert (done["message"], done["chat"]) == (poison, chat)
        assert pabal(stack, "replay", letter).returncode == 1, "it is gone"
        assert letters(stack) == []

        rows = stored(stack, chat)
        assert [row["seq"] for row in rows] == list(range(1, 22))
        assert [row["_id"] for row in rows].count(poison) == 1
        assert rows[-1]["sender_id"] == haneul.user
        deadline = time.monotonic() + 30
        while poison not in received and time.monotonic() < deadline:
            time.sleep(0.05)
        assert received.count(poison) == 1
    for log in (stack.state.root / "log").glob("*.log"):
        if not log.name.startswith("mongod"):
            assert POISON not in log.read_text(errors="replace"), log.name


def send(client: ChatClient, chat: str, message: str) -> None:
    client.send_nowait(chat, text=POISON, id=message).result(30)


def test_a_letter_is_dropped_by_its_id(poisoned: RunningStack) -> None:
    stack = poisoned
    with people(stack, 2) as ((chat,), (one, _)):
        haneul = one.client
        forbid(stack, POISON)
        ids = [new_message_id() for _ in range(2)]
        for message in ids:
            with pytest.raises(SendRefused):
                send(haneul, chat, message)
        assert pabal(stack, "drop").returncode == 2, "without an id nothing is dropped"
        assert pabal(stack, "drop", f"{haneul.user}:{ids[0]}").returncode == 0
        assert [found["id"] for found in letters(stack)] == [f"{haneul.user}:{ids[1]}"]
        assert pabal(stack, "drop", f"{haneul.user}:{ids[0]}").returncode == 1
        assert stored(stack, chat) == []
