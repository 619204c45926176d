"""What one member is shown of what the others have seen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chat.models import Member, Role
from chat.privacy import shown_to

AT = datetime(2026, 5, 4, tzinfo=UTC)


def member(user: str, **fields: Any) -> Member:
    return Member("g-1", user, Role.MEMBER, AT, delivered_seq=3, seen_seq=5, seen_n=5, **fields)


def seen(viewer: str, *members: Member) -> dict[str, int]:
    return {row.user: row.seen_seq for row in shown_to(viewer, members)}


def test_who_hides_it_is_not_seen_and_does_not_see() -> None:
    shy, open_, other = member("shy", hides_seen=True), member("open"), member("other")
    assert seen("open", shy, open_, other) == {"shy": 0, "open": 5, "other": 5}
    assert seen("shy", shy, open_, other) == {"shy": 5, "open": 0, "other": 0}
    assert seen("stranger", shy, open_) == {"shy": 0, "open": 5}


def test_what_was_seen_was_delivered() -> None:
    (row,) = shown_to("open", [member("shy", hides_seen=True)])
    assert (row.delivered_seq, row.seen_seq, row.seen_n) == (5, 0, 0)


def test_the_stored_rows_stay_as_they_are() -> None:
    shy = member("shy", hides_seen=True)
    shown_to("open", [shy])
    assert shy == member("shy", hides_seen=True)
