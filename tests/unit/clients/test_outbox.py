"""The outbox keeps order, its bound, and each id once."""

from __future__ import annotations

import pytest

from clients.python.errors import OutboxFull, SendRefused
from clients.python.outbox import Outbox, Sent


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
