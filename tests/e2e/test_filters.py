"""Filters of a running stack: lists from files that change, rates, a shadow ban, and all of it while Valkey is away."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from chat.ids import new_message_id
from clients.python import ApiError, SendRefused
from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.e2e.test_event_types import Person

pytestmark = pytest.mark.e2e

BURST = 40


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("lists")
    found = {name: directory / f"{name}.txt" for name in ("words", "links", "shadow")}
    found["words"].write_text("# 욕설\n시발\n!시발점\n")
    found["links"].write_text("나쁜.한국\n")
    found["shadow"].write_text("")
    return found


@pytest.fixture(scope="module")
def strict(module_stacks: Stacks, files: dict[str, Path]) -> RunningStack:
    env = {f"PABAL_BRIDGE_{name.upper()}_FILE": str(path) for name, path in files.items()}
    env |= {"PABAL_BRIDGE_RATE": "0.001", "PABAL_BRIDGE_BURST": str(BURST)}
    return module_stacks(env=env)


def code(person: Person, chat: str, text: str) -> str | None:
    """Why a message is refused; None when it is stored."""
    try:
        person.client.send(chat, text=text, timeout=30)
    except SendRefused as refused:
        return refused.code
    return None


def until_refused(person: Person, chat: str, text: str, *, by: str) -> None:
    """Lists are looked at every two seconds."""
    deadline = time.monotonic() + 30
    while code(person, chat, text) != by:
        assert time.monotonic() < deadline, "the list was not read"
        time.sleep(1)


def test_lists_rates_and_a_ban(strict: RunningStack, files: dict[str, Path]) -> None:
    ari, bo = Person(strict, "ari"), Person(strict, "bo")
    chat = ari.api.create_chat("group", [bo.id], title="방").id
    bo.client.join(chat)
    assert code(ari, chat, "시발점은 서울역이에요") is None
    assert code(ari, chat, "시.발") == "blocked_word"
    assert code(ari, chat, "http://xn--910b021a.xn--3e0b707e/") == "blocked_link"
    files["words"].write_text("시발\n...broken...\n!!!")
    files["links"].write_text("나쁜.한국\nevil.example\n")
    until_refused(ari, chat, "https://www.evil.example", by="blocked_link")
    assert code(ari, chat, "ㅅㅣㅂㅏㄹ") == "blocked_word", "a broken list changes nothing"

    os.kill(strict.refresh()["processes"]["valkey"], signal.SIGKILL)
    assert {code(bo, chat, f"{number}: 안녕하세요") for number in range(BURST)} == {None}, "messages wait for nobody"
    with pytest.raises(ApiError) as refused:  # over MQTT the SDK would wait, and send it again
        bo.api.send(chat, text="하나 더")
    assert (refused.value.status, refused.value.code) == (429, "rate_limited")

    files["shadow"].write_text(f"{ari.id}\n")
    time.sleep(3)
    id_ = new_message_id()
    ari.client.send(chat, text="아무도 못 듣는 말", id=id_)
    assert [item.type for item in ari.api.history(chat).items][-1] == "message"
    assert [(item.type, item.body) for item in bo.api.history(chat).items][-1] == ("void", None)
    last = bo.get(lambda event: event.sender != bo.id and event.seq > BURST)
    assert (last.type, last.id, last.body) == ("void", id_, None)
    for person in (ari, bo):
        person.close()
