"""Own watermarks: they rise, and one acknowledgement per chat is under way."""

from __future__ import annotations

from chat.envelopes import Ack
from clients.python.watermarks import OwnWatermarks


def marks() -> OwnWatermarks:
    return OwnWatermarks(delay=lambda _: 1.0)


def test_only_the_newest_wish_is_told() -> None:
    own = marks()
    for seq in (1, 2, 5, 3):
        own.want("g", seen=seq)
    assert own.next(0.0) == ("g", Ack(seen=5))
    assert own.next(0.0) is None


def test_a_wish_waits_for_the_answer_to_the_one_before() -> None:
    own = marks()
    own.want("g", delivered=1)
    assert own.next(0.0) == ("g", Ack(delivered=1))
    own.want("g", delivered=9, seen=4)
    assert own.next(0.0) is None
    assert own.due() is None
    own.done("g")
    assert own.next(0.0) == ("g", Ack(delivered=9, seen=4))


def test_what_was_told_is_not_told_again() -> None:
    own = marks()
    own.want("g", seen=5)
    own.next(0.0)
    own.done("g")
    own.want("g", delivered=5)
    own.want("g", seen=4)
    assert own.due() is None


def test_a_refusal_that_passes_is_tried_again_later_with_the_newest() -> None:
    own = marks()
    own.want("g", seen=5)
    own.next(0.0)
    own.want("g", seen=6)
    own.again("g", 10.0)
    assert own.next(10.5) is None
    assert own.due() == 11.0
    assert own.next(11.0) == ("g", Ack(seen=6))


def test_chats_do_not_wait_for_each_other() -> None:
    own = marks()
    own.want("a", seen=1)
    own.want("b", seen=2)
    assert [own.next(0.0), own.next(0.0)] == [("a", Ack(seen=1)), ("b", Ack(seen=2))]


def test_a_chat_that_was_left_is_forgotten() -> None:
    own = marks()
    own.want("g", seen=5)
    own.forget("g")
    assert own.next(0.0) is None
    own.want("h", seen=1)
    own.next(0.0)
    own.forget("h")
    own.again("h", 0.0)
    assert own.due() is None
