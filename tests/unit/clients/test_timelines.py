"""Many chats: turns between them, and few sync requests for all."""

from __future__ import annotations

from datetime import UTC, datetime

from chat.envelopes import Event, Reset, SyncPage
from clients.python.timeline import Restart
from clients.python.timelines import MAX_CURSORS, Timelines

AT = datetime(2026, 5, 4, tzinfo=UTC)


def event(chat: str, seq: int) -> Event:
    return Event(type="message", id=f"{chat}-{seq}", chat=chat, seq=seq, n=seq, sender="a", at=AT)


def joined(**cursors: int | None) -> Timelines:
    timelines = Timelines(delay=lambda _: 1.0)
    for chat, cursor in cursors.items():
        timelines.add(chat, cursor)
    timelines.live(cursors)
    return timelines


def test_chats_take_turns() -> None:
    timelines = joined(a=0, b=0)
    for seq in (1, 2, 3):
        timelines.put(event("a", seq))
    timelines.put(event("b", 1))
    taken = []
    while (one := timelines.take()) is not None:
        taken.append((one.chat, one.seq))
    assert sorted(taken) == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert taken.index(("b", 1)) == 1


def test_an_event_of_a_chat_that_is_not_joined_is_refused() -> None:
    assert not joined(a=0).put(event("b", 1))


def test_nothing_is_asked_before_the_subscription_stands() -> None:
    timelines = Timelines()
    timelines.add("a", 4)
    assert timelines.requests(0.0) == []
    assert not timelines.idle("a")
    timelines.live(["a"])
    (request,) = timelines.requests(0.0)
    assert request.cursors == {"a": 4}


def test_one_request_asks_for_many_chats_and_another_for_heads() -> None:
    requests = joined(a=4, b=7, c=None).requests(0.0)
    assert [(request.cursors, request.limit) for request in requests] == [({"a": 4, "b": 7}, 100), ({"c": 0}, 1)]


def test_requests_are_cut_to_what_the_server_takes() -> None:
    chats = {f"c{number}": 0 for number in range(MAX_CURSORS + 1)}
    sizes = [len(request.cursors) for request in joined(**chats).requests(0.0)]
    assert sorted(sizes) == [1, MAX_CURSORS]


def test_an_answered_chat_is_idle_and_a_gap_makes_it_want_again() -> None:
    timelines = joined(a=4)
    (request,) = timelines.requests(0.0)
    assert not timelines.idle("a")
    timelines.page(SyncPage(chat="a", events=[event("a", 5)], next=5, limited=False, last=5, req=request.req), 0.0)
    assert timelines.idle("a")
    assert timelines.whole("a") == 5
    assert timelines.cursor("a") == 4
    timelines.put(event("a", 7))
    assert not timelines.idle("a")
    assert timelines.due() == 0.0
    assert timelines.requests(0.0)[0].cursors == {"a": 5}
    assert timelines.due() == 1.0


def test_while_away_nothing_is_due() -> None:
    timelines = joined(a=4)
    timelines.away()
    assert timelines.due() is None
    assert timelines.requests(9.0) == []


def test_an_unknown_chat_is_forgotten_with_what_was_held() -> None:
    timelines = joined(a=0)
    timelines.put(event("a", 1))
    assert timelines.reset(Reset(chat="a", reason="unknown_chat")) == Restart("a", "unknown_chat", None)
    assert "a" not in timelines
    assert timelines.take() is None
    assert timelines.due() is None


def test_a_page_or_reset_of_another_chat_is_ignored() -> None:
    timelines = joined(a=0)
    assert timelines.page(SyncPage(chat="x", events=[], next=0, limited=False, last=0), 0.0) is None
    assert timelines.reset(Reset(chat="x", reason="ahead")) is None
