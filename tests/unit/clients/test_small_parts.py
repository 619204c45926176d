"""Reading, pacing and dispatching."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from chat.envelopes import Event, ReceiptUpdate, Reject, SyncDone, encode
from chat.errors import InvalidEnvelope
from clients.python.dispatch import Dispatcher
from clients.python.pacing import RETRY_CAP, backoff
from clients.python.reading import Presence, Typing, read

EVENT = b'{"type":"message","id":"x","chat":"g-1","seq":1,"n":1,"sender":"a","at":"2026-05-04T00:00:00Z","new":1}'


def test_events_are_read_by_topic_and_new_fields_ignored() -> None:
    event = read("chats/g-1/messages", EVENT)
    assert isinstance(event, Event)
    assert event.seq == 1


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("chats/g-2/messages", EVENT),
        ("chats/g-1/messages", b"\xff"),
        ("chats/g-1/receipts", b"[]"),
        ("users/a-b/inbox", b'{"type": 1}'),
        ("users/a-b/inbox", b'{"type": "sync"}'),
        ("users/a-b/presence", b"{}"),
    ],
)
def test_what_is_not_what_its_topic_says_is_an_error(topic: str, payload: bytes) -> None:
    with pytest.raises(InvalidEnvelope):
        read(topic, payload)


def test_inbox_typing_and_presence() -> None:
    reject = Reject(code="too_large", reason="…")
    assert read("users/haneul/inbox", encode(reject)) == reject
    assert read("users/haneul/inbox", encode(SyncDone(req="1"))) == SyncDone(req="1")
    assert read("chats/g-1/typing/bada", b"") == Typing("g-1", "bada")
    update = (
        b'{"type":"receipts","chat":"g-1","at":"2026-05-04T00:00:00Z","marks":[{"user":"a","delivered":2,"seen":1}]}'
    )
    seen = read("users/haneul/inbox", update)
    assert isinstance(seen, ReceiptUpdate)
    assert seen.marks[0].seen == 1
    own = read("users/haneul/inbox", EVENT.replace(b'"message"', b'"hide"'))
    assert isinstance(own, Event)
    assert (own.type, own.chat, own.seq) == ("hide", "g-1", 1)
    presence = read("users/bada/presence", b'{"online":true,"at":"2026-05-04T00:00:00Z"}')
    assert isinstance(presence, Presence)
    assert presence.online


@pytest.mark.parametrize("topic", ["chats/g-1/unheard", "elsewhere", "users/haneul/sync"])
def test_what_is_not_known_is_passed_over(topic: str) -> None:
    assert read(topic, b"{}") is None


def test_backoff_doubles_has_a_cap_and_is_half_random() -> None:
    assert [backoff(attempt, rng=lambda: 1.0) for attempt in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert backoff(10_000, rng=lambda: 1.0) == RETRY_CAP
    assert backoff(2, rng=lambda: 0.0) == 1.0
    assert len({backoff(5) for _ in range(20)}) > 1


def test_a_full_dispatcher_drops_the_oldest_and_counts() -> None:
    got: list[Any] = []
    done = threading.Event()
    dispatcher = Dispatcher("calls", pull=lambda: None, limit=3)
    for number in range(5):
        dispatcher.put(got.append, number)
    dispatcher.put(lambda _: done.set(), None)
    dispatcher.start()
    assert done.wait(5)
    dispatcher.stop()
    assert got == [3, 4]
    assert dispatcher.dropped == 3


def test_what_is_pulled_is_called_until_there_is_no_more() -> None:
    waiting = [1, 2, 3]
    got: list[int] = []
    done = threading.Event()

    def call(number: int) -> None:
        got.append(number)
        if not waiting:
            done.set()

    dispatcher = Dispatcher("calls", pull=lambda: (call, waiting.pop(0)) if waiting else None)
    dispatcher.start()
    dispatcher.wake()
    assert done.wait(5)
    dispatcher.stop()
    assert got == [1, 2, 3]


def test_a_dispatcher_may_be_stopped_by_what_it_calls() -> None:
    done = threading.Event()
    dispatcher = Dispatcher("calls", pull=lambda: None)

    def end(_: object) -> None:
        dispatcher.stop()
        done.set()

    dispatcher.put(end, None)
    dispatcher.start()
    assert done.wait(5)
