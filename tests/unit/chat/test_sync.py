"""P7: who was away gets everything in order, or is told to start anew."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.envelopes import Event, Reset, SyncPage
from chat.models import Head
from chat.sync import page, reset_reason

AT = datetime(2026, 5, 4, tzinfo=UTC)


def event(seq: int) -> Event:
    return Event("message", f"id-{seq}", "g-1", seq, seq, "user1", AT)


def stored(first: int, last: int, *, behind: int, limit: int) -> list[Event]:
    """What a store answers that holds `first` to `last`."""
    return [event(seq) for seq in range(max(first, behind + 1), last + 1)][:limit]


@pytest.mark.parametrize(
    ("cursor", "member", "reason"),
    [(0, True, None), (10, True, None), (11, True, "ahead"), (0, False, "unknown_chat"), (11, False, "unknown_chat")],
)
def test_which_cursors_can_be_used(cursor: int, member: bool, reason: str | None) -> None:
    assert reset_reason(cursor, Head(10, 5), member=member) == reason


@given(last=st.integers(0, 30), cursor=st.integers(0, 30), limit=st.integers(1, 12))
def test_page_after_page_everything_comes_once_in_order(last: int, cursor: int, limit: int) -> None:
    cursor = min(cursor, last)
    got, at, head = [], cursor, Head(last, last)
    for _ in range(last + 2):
        answer = page("g-1", at, stored(1, last, behind=at, limit=limit), head, limit=limit)
        assert isinstance(answer, SyncPage)
        assert len(answer.events) <= limit
        assert answer.last == last
        got += [each.seq for each in answer.events]
        at = answer.next
        if not answer.limited:
            break
    assert got == list(range(cursor + 1, last + 1))
    assert at == last


@given(first=st.integers(1, 20), last=st.integers(0, 20), cursor=st.integers(0, 20), limit=st.integers(1, 5))
def test_what_is_no_longer_stored_is_never_skipped_in_silence(first: int, last: int, cursor: int, limit: int) -> None:
    cursor = min(cursor, last)
    answer = page(
        "g-1", cursor, stored(first, last, behind=cursor, limit=limit), Head(last, last), limit=limit, req="r"
    )
    gone = cursor < last and first > cursor + 1
    assert isinstance(answer, Reset) is gone
    assert answer.req == "r"
    if isinstance(answer, Reset):
        assert answer.reason == "too_old"


def test_nothing_new() -> None:
    assert page("g-1", 5, [], Head(5, 3), limit=10, req="r") == SyncPage("g-1", [], 5, False, 5, "r")
    assert page("g-1", 0, [], Head(), limit=10) == SyncPage("g-1", [], 0, False, 0)


def test_events_stored_since_the_head_was_read_are_no_contradiction() -> None:
    answer = page("g-1", 5, [event(6), event(7)], Head(6, 6), limit=2)
    assert answer == SyncPage("g-1", [event(6), event(7)], 7, False, 7)


def test_a_full_page_that_ends_at_the_head_is_the_last() -> None:
    answer = page("g-1", 0, [event(1), event(2)], Head(2, 2), limit=2)
    assert isinstance(answer, SyncPage)
    assert not answer.limited
