"""P6: watermarks only rise, and seen <= delivered <= last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.watermarks import Watermark, raise_to, slowest, unread

SEQ = st.integers(0, 50)
CLAIM = st.integers(-10, 100)
MARKS = st.tuples(SEQ, SEQ).map(lambda pair: Watermark(delivered=max(pair), seen=min(pair)))


@given(claims=st.lists(st.tuples(CLAIM, CLAIM, st.integers(0, 5)), max_size=30))
def test_whatever_is_claimed_in_whatever_order(claims: list[tuple[int, int, int]]) -> None:
    mark, last = Watermark(), 0
    for delivered, seen, more in claims:
        last += more
        after = raise_to(mark, last=last, delivered=delivered, seen=seen)
        assert mark.delivered <= after.delivered
        assert mark.seen <= after.seen
        assert 0 <= after.seen <= after.delivered <= last
        assert after.seen >= min(seen, last)
        assert after.delivered >= min(delivered, last)
        mark = after


@given(claims=st.lists(st.tuples(CLAIM, CLAIM), max_size=8), data=st.data())
def test_order_and_repeats_do_not_matter(claims: list[tuple[int, int]], data: st.DataObject) -> None:
    def after(order: list[tuple[int, int]]) -> Watermark:
        mark = Watermark()
        for delivered, seen in order:
            mark = raise_to(mark, last=50, delivered=delivered, seen=seen)
        return mark

    assert after(data.draw(st.permutations(claims + claims))) == after(claims)


def test_what_was_seen_was_delivered_and_nothing_else_follows() -> None:
    assert raise_to(Watermark(), last=9, seen=5) == Watermark(delivered=5, seen=5)
    assert raise_to(Watermark(), last=9, delivered=5) == Watermark(delivered=5, seen=0)


@pytest.mark.parametrize(("delivered", "seen"), [(0, 1), (4, 5), (-1, -1), (0, -1)])
def test_an_impossible_watermark_can_not_be_made(delivered: int, seen: int) -> None:
    with pytest.raises(ValueError, match="watermark"):
        Watermark(delivered=delivered, seen=seen)


@given(marks=st.lists(MARKS, min_size=1, max_size=10))
def test_the_slowest_is_what_all_have_reached(marks: list[Watermark]) -> None:
    low = slowest(marks)
    for seq in range(52):
        assert (low.delivered >= seq) is all(mark.delivered >= seq for mark in marks)
        assert (low.seen >= seq) is all(mark.seen >= seq for mark in marks)


def test_nobody_has_reached_nothing() -> None:
    assert slowest([]) == Watermark()


@given(kinds=st.lists(st.booleans(), max_size=30), seen=st.integers(0, 30))
def test_unread_is_the_number_of_messages_behind_what_was_seen(kinds: list[bool], seen: int) -> None:
    """`kinds`: whether each event of a chat is a message; edits and the like never count."""
    n_at = [0]
    for is_message in kinds:
        n_at.append(n_at[-1] + is_message)
    seen = min(seen, len(kinds))
    assert unread(last_n=n_at[-1], seen_n=n_at[seen]) == sum(kinds[seen:])


def test_unread_is_never_negative() -> None:
    assert unread(last_n=3, seen_n=5) == 0
