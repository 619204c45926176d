"""The outbox keeps order, its bound, and each id once."""

from __future__ import annotations

import pytest

from clients.python.errors import OutboxFull, SendRefused
from clients.python.outbox import Outbox, Sent, Slowed

CODE = "rate_limited"


def outbox(limit: int = 10) -> Outbox:
    return Outbox(limit, delay=lambda tries: 1.0 + tries)


def test_entries_come_out_in_order_once() -> None:
    box = outbox()
    for name in "abc":
        box.add(name, "g", b"")
    assert [entry.id for _ in range(3) if (entry := box.next(0.0))] == ["a", "b", "c"]
    assert box.next(0.0) is None
    assert box.due() is None
    assert box.ids == ["a", "b", "c"]


def test_an_id_that_waits_is_not_queued_twice() -> None:
    box = outbox()
    assert box.add("a", "g", b"1") is box.add("a", "g", b"2")
    assert len(box) == 1


def test_the_bound_refuses_and_an_answer_makes_room() -> None:
    box = outbox(1)
    box.add("a", "g", b"")
    with pytest.raises(OutboxFull):
        box.add("b", "g", b"")
    assert box.pop("a") is not None
    box.add("b", "g", b"")


def test_what_waits_for_its_next_try_is_not_overtaken() -> None:
    box = outbox()
    box.add("a", "g", b"")
    box.next(0.0)
    box.add("b", "g", b"")
    box.again("a", 10.0)
    assert box.due() == 11.0
    assert box.next(10.5) is None
    assert [entry.id for _ in range(2) if (entry := box.next(11.0))] == ["a", "b"]


def test_later_tries_wait_longer() -> None:
    box = outbox()
    box.add("a", "g", b"")
    for now, due in ((0.0, 1.0), (1.0, 3.0)):
        assert box.next(now) is not None
        box.again("a", now)
        assert box.due() == due


def test_those_who_wait_are_told() -> None:
    box = outbox()
    stored, refused = box.add("a", "g", b""), box.add("b", "g", b"")
    stored.complete()
    refused.complete(SendRefused("b", "too_large"))
    assert stored.stored.result(0) == Sent("a")
    with pytest.raises(SendRefused, match="too_large"):
        refused.stored.result(0)


def test_nobody_waits_any_more() -> None:
    entry = outbox().add("a", "g", b"")
    entry.stored.cancel()
    entry.complete()


def test_a_chat_that_is_too_fast_goes_one_by_one_and_in_order_while_others_pass() -> None:
    box = outbox()
    for name, chat in (("a", "g"), ("b", "g"), ("c", "g"), ("x", "h")):
        box.add(name, chat, b"")
    assert [entry.id for _ in range(3) if (entry := box.next(0.0))] == ["a", "b", "c"]
    assert box.slow("a", CODE, 0.0) == Slowed("g", 1.0, CODE)
    assert box.slow("b", CODE, 0.5) is None  # they were under way together: one pause for all
    assert box.slow("c", CODE, 0.5) is None
    assert (box.due(), box.next(0.5).id, box.next(0.5)) == (0.0, "x", None)  # type: ignore[union-attr]
    assert box.due() == 1.0
    assert (box.next(1.0).id, box.next(1.0), box.due()) == ("a", None, None)  # type: ignore[union-attr]
    assert box.slow("a", CODE, 1.0) == Slowed("g", 2.0, CODE)  # the next pause is longer
    assert box.next(2.9) is None
    for name in "abc":
        assert box.next(3.0).id == name  # type: ignore[union-attr]
        assert box.next(3.0) is None
        box.pop(name)
    assert box.slow("a", CODE, 3.0) is None  # it is stored already
    box.add("d", "g", b"")
    box.add("e", "g", b"")
    assert [entry.id for _ in range(2) if (entry := box.next(4.0))] == [
        "d",
        "e",
    ]  # nothing waited any more: as fast as before


def test_what_waits_in_a_slow_chat_for_another_reason_is_not_overtaken_and_due_when_it_is() -> None:
    box = outbox()
    box.add("a", "g", b"")
    box.add("x", "h", b"")
    assert box.next(0.0) is not None
    assert box.slow("a", CODE, 0.0) == Slowed("g", 1.0, CODE)
    assert box.next(0.5).id == "x"  # type: ignore[union-attr]
    box.pop("x")
    assert box.next(1.0).id == "a"  # type: ignore[union-attr]
    box.again("a", 1.0)
    box.add("y", "h", b"")
    assert (box.next(1.5), box.due()) == (None, 2.0)
    assert box.next(2.0).id == "a"  # type: ignore[union-attr]


def test_a_rejection_that_is_told_twice_swallows_one_acknowledgement() -> None:
    """Or the one of the next try would be lost, and whoever waits for it would wait for ever."""
    box = outbox()
    box.add("a", "g", b"")
    assert box.next(0.0) is not None
    assert box.slow("a", CODE, 0.0, rejected=True) == Slowed("g", 1.0, CODE)
    assert box.was_rejected("a")
    assert box.slow("a", CODE, 0.5, rejected=True) is None  # the same once more
    assert box.next(1.0) is not None
    assert not box.was_rejected("a")


def test_of_3_1_1_the_acknowledgement_of_what_was_rejected_says_nothing() -> None:
    box = outbox()
    box.add("a", "g", b"")
    assert box.next(0.0) is not None
    assert box.slow("a", CODE, 0.0, rejected=True) == Slowed("g", 1.0, CODE)
    assert box.was_rejected("a")
    assert not box.was_rejected("a")
    assert not box.was_rejected("b")
