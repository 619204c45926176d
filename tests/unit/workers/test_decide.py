from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.models import Member, Role
from workers.push.decide import Pointless, must_wait, pointless, recipients

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def event(**changes: object) -> Event:
    fields: dict[str, object] = {
        "type": "message",
        "id": new_message_id(),
        "chat": "g-1",
        "seq": 10,
        "n": 9,
        "sender": "user1",
        "at": NOW - timedelta(seconds=1),
        "body": Body(text="안녕"),
    }
    return Event(**(fields | changes))  # type: ignore[arg-type]


def member(user: str = "user2", **changes: object) -> Member:
    fields: dict[str, object] = {"chat": "g-1", "user": user, "role": Role.MEMBER, "joined_at": NOW - DAY}
    return Member(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "pushed"),
    [
        ({}, True),
        ({"role": Role.READER}, True),
        ({"user": "user1"}, False),  # the sender
        ({"user": "dev-thermo"}, False),
        ({"user": "svc-bot"}, False),
        ({"left_at": NOW - DAY}, False),
        ({"joined_seq": 9}, True),
        ({"joined_seq": 10}, False),
        ({"joined_seq": 11}, False),
        ({"delivered_seq": 9}, True),
        ({"delivered_seq": 10}, False),
        ({"delivered_seq": 12, "seen_seq": 10}, False),
        ({"muted_until": NOW + timedelta(seconds=1)}, False),
        ({"muted_until": NOW}, True),
        ({"muted_until": NOW - DAY}, True),
    ],
)
def test_who_gets_a_push(changes: dict[str, object], pushed: bool) -> None:
    somebody = member(**changes)
    expected = [somebody.user] if pushed else []
    assert recipients(event(), [somebody], now=NOW) == expected


def test_the_order_is_that_of_the_members() -> None:
    members = [member(user) for user in ("zoe", "user1", "bob", "amy")]
    assert recipients(event(), members, now=NOW) == ["zoe", "bob", "amy"]
    assert recipients(event(), [], now=NOW) == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"type": "edit"}, Pointless.NOT_A_MESSAGE),
        ({"type": "delete"}, Pointless.NOT_A_MESSAGE),
        ({"type": "reaction"}, Pointless.NOT_A_MESSAGE),
        ({"type": "system"}, Pointless.NOT_A_MESSAGE),
        ({"type": "void"}, Pointless.NOT_A_MESSAGE),
        ({"deleted_at": NOW, "body": None}, Pointless.DELETED),
        ({"expires_at": NOW}, Pointless.EXPIRED),
        ({"expires_at": NOW + timedelta(seconds=1)}, None),
        ({"at": NOW - DAY}, None),
        ({"at": NOW - DAY - timedelta(seconds=1)}, Pointless.TOO_OLD),
    ],
)
def test_when_nobody_is_pushed(changes: dict[str, object], why: Pointless | None) -> None:
    assert pointless(event(**changes), now=NOW, max_age=DAY) == why


@pytest.mark.parametrize(("age", "waits"), [(0.0, True), (2.9, True), (3.0, False), (60.0, False)])
def test_who_looks_connected_has_a_grace(age: float, waits: bool) -> None:
    young = event(at=NOW - timedelta(seconds=age))
    assert must_wait(young, now=NOW, grace=timedelta(seconds=3)) is waits
