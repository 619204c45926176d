"""Every type of event on the real stack, with the SDK: what the others get, what history shows, and what only one sees."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chat.envelopes import Body, Event
from clients.python import ApiError, ChatClient, PabalApi, SendRefused, Unreachable
from stack.testing import RunningStack

pytestmark = pytest.mark.e2e


class Person:
    """A user with both ways in."""

    def __init__(self, stack: RunningStack, name: str) -> None:
        self.id = f"{name}-{secrets.token_hex(4)}"
        self.api = PabalApi(stack.info["api"])
        self.api.register(self.id, "correct horse battery", "하늘 🌤️")
        self.api.login(self.id, "correct horse battery")
        self.client = ChatClient(stack.info["mqtt_host"], stack.info["mqtt_port"], user=self.id, token=self.api.token)
        self.client.connect()

    def close(self) -> None:
        self.client.close()
        self.api.close()

    def get(self, wanted: Callable[[Event], bool]) -> Event:
        """The next event that is wanted; all before it are taken too."""
        while (event := self.client.next_event(20)) is not None:
            if wanted(event):
                return event
        raise AssertionError("it did not come")

    def history(self, chat: str) -> list[Any]:
        return list(self.api.history(chat).items)


@pytest.fixture(scope="module")
def ari(stack: RunningStack) -> Iterator[Person]:
    made = Person(stack, "ari")
    yield made
    made.close()


@pytest.fixture(scope="module")
def bo(stack: RunningStack) -> Iterator[Person]:
    made = Person(stack, "bo")
    yield made
    made.close()


@pytest.fixture
def chat(ari: Person, bo: Person) -> str:
    """A group of ari's, with bo; both listen."""
    made = ari.api.create_chat("group", [bo.id], title="파발").id
    for person in (ari, bo):
        person.client.join(made)
    return made


def of(type_: str, chat: str) -> Callable[[Event], bool]:
    return lambda event: (event.type, event.chat) == (type_, chat)


def test_about_a_message(ari: Person, bo: Person, chat: str) -> None:
    said = ari.client.send(chat, text="안녕하세요").id
    answer = bo.client.send(chat, text=f"@{ari.id} 네!", reply_to=said, mentions=[ari.id, "nobody-here"]).id
    bo.client.send(chat, type="reaction", target=said, body=Body(emoji="👍🏽"))
    ari.client.send(chat, type="edit", target=said, text="안녕하세요!")
    ari.client.send(chat, type="pin", target=answer)
    got = [ari.get(lambda event: event.chat == chat) for _ in range(5)]
    assert [(event.type, event.seq, event.n) for event in got] == [
        ("message", 1, 1),
        ("message", 2, 2),
        ("reaction", 3, 2),
        ("edit", 4, 2),
        ("pin", 5, 2),
    ]
    assert (got[1].reply_to, got[1].mentions) == (said, [ari.id])
    shown = bo.history(chat)
    assert shown[0].body == Body(text="안녕하세요!")
    assert shown[1].pinned_at is not None
    assert [event.id for event in bo.api.pins(chat)] == [answer]
    for type_, code in (("pin", "not_a_manager"), ("edit", "not_yours"), ("delete", "not_yours")):
        with pytest.raises(SendRefused) as refused:
            bo.client.send(chat, type=type_, target=said, body=Body(text="x") if type_ == "edit" else None)
        assert refused.value.code == code
    ari.client.send(chat, type="delete", target=answer)
    assert bo.history(chat)[1].body is None


def test_what_one_hides_the_others_see(ari: Person, bo: Person, chat: str) -> None:
    said = ari.client.send(chat, text="나에게만 안 보일 말").id
    bo.client.send(chat, type="hide", target=said)
    after = ari.client.send(chat, text="다음 말").id
    mine = [bo.get(lambda event: event.chat == chat) for _ in range(3)]
    assert [(event.type, event.seq) for event in mine] == [("message", 1), ("hide", 2), ("message", 3)]
    assert mine[1].target == said
    theirs = [ari.get(lambda event: event.chat == chat) for _ in range(3)]
    assert [(event.type, event.seq) for event in theirs] == [("message", 1), ("void", 2), ("message", 3)]
    assert theirs[2].id == after
    assert [(item.type, item.body is None, item.hidden) for item in bo.history(chat)][:2] == [
        ("message", True, True),
        ("hide", True, False),
    ]
    assert [(item.type, item.body is None, item.hidden) for item in ari.history(chat)][:2] == [
        ("message", False, False),
        ("void", True, False),
    ]


def test_a_forward_names_who_said_it_and_only_who_reads_it_can_pass_it_on(ari: Person, bo: Person, chat: str) -> None:
    said = bo.client.send(chat, text="옮겨도 되는 말").id
    other = ari.api.create_chat("group", [], title="ari의 방").id
    ari.client.send(other, type="forward", target=said)
    (copy,) = ari.history(other)
    assert (copy.type, copy.sender, copy.body) == ("message", ari.id, Body(text="옮겨도 되는 말"))
    assert (copy.forwarded.id, copy.forwarded.sender) == (said, bo.id)
    with pytest.raises(SendRefused) as refused:
        bo.client.send(chat, type="forward", target=copy.id)
    assert refused.value.code == "unknown_target"


def test_the_chat_is_told_what_changes_about_it(ari: Person, bo: Person, chat: str) -> None:
    ari.api.rename(chat, "말이 달린다")
    ari.api.set_role(chat, bo.id, "admin")
    told = [bo.get(of("system", chat)).system for _ in range(2)]
    assert [(system.what, system.by, system.users, system.title, system.role) for system in told if system] == [
        ("renamed", ari.id, [], "말이 달린다", None),
        ("role", ari.id, [bo.id], None, "admin"),
    ]
    said = ari.client.send(chat, text="지워질 말").id
    bo.client.send(chat, type="delete", target=said)
    assert next(item for item in ari.history(chat) if item.id == said).body is None
    bo.api.remove_member(chat, bo.id)
    left = ari.get(lambda event: event.system is not None and event.system.what == "left")
    assert left.system is not None
    assert (left.system.by, left.system.users) == (bo.id, [bo.id])
    with pytest.raises(ApiError):
        bo.api.history(chat)


def test_who_hides_what_they_have_seen(ari: Person, bo: Person, chat: str) -> None:
    bo.api.hide_seen(hides=True)
    try:
        said = ari.client.send(chat, text="읽었어?").id
        event = bo.get(lambda one: one.id == said)
        bo.client.seen(chat, event.seq)
        back = bo.client.send(chat, text="응").id
        ari.get(lambda one: one.id == back)
        until(lambda: status(ari, chat, said) != ("SENT", None))  # receipts are coalesced
        assert status(ari, chat, said) == ("DELIVERED", None)
        until(lambda: bo.api.chats().items[0].unread == 0)
        assert status(ari, chat, said) == ("DELIVERED", None)
    finally:
        bo.api.hide_seen(hides=False)
    assert status(ari, chat, said)[0] == "SEEN"


def status(person: Person, chat: str, message: str) -> tuple[str, Any]:
    item = next(item for item in person.history(chat) if item.id == message)
    return item.status, item.seen_at


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def test_a_chat_is_told_what_changed_although_bridge_and_api_died_over_it(
    stack: RunningStack, ari: Person, bo: Person, chat: str
) -> None:
    stack.kill("bridge")
    ari.api.rename(chat, "둘 다 죽은 사이에")
    stack.kill("api")
    event = bo.get(of("system", chat))
    assert event.system is not None
    assert (event.system.what, event.system.title) == ("renamed", "둘 다 죽은 사이에")
    deadline = time.monotonic() + 60
    while True:
        try:
            told = [one for one in bo.history(chat) if one.type == "system"]
            break
        except Unreachable:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert [one.id for one in told] == [event.id]
