from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.models import Member, PushToken, Role
from chat.push_preferences import PushPreferences, QuietHours
from chat.pushes import Marked, Rule
from workers.push.decide import Recipient, choose, grace_ends, is_person, pointless, suppressed_by

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TOKEN = PushToken("t", "user2", "android", NOW)


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


def recipient(somebody: Member | None = None, **changes: object) -> Recipient:
    somebody = somebody or member()
    facts: dict[str, object] = {"member": somebody, "preferences": PushPreferences(somebody.user), "tokens": [TOKEN]}
    return Recipient(**(facts | changes))  # type: ignore[arg-type]


def marked(seq: int, **changes: object) -> Marked:
    found = event(seq=seq, **changes)
    return Marked(found, found.at)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, None),
        ({"role": Role.READER}, None),
        ({"delivered_seq": 9}, None),
        ({"delivered_seq": 10}, Rule.DELIVERED),
        ({"delivered_seq": 12, "seen_seq": 10}, Rule.DELIVERED),
        ({"seen_seq": 10}, Rule.DELIVERED),
        ({"muted_until": NOW + timedelta(seconds=1)}, Rule.MUTED),
        ({"muted_until": NOW}, None),
        ({"muted_until": NOW - DAY}, None),
    ],
)
def test_what_a_membership_decides(changes: dict[str, object], rule: Rule | None) -> None:
    assert suppressed_by(event(), recipient(member(**changes)), now=NOW) is rule


def wishes(**changes: object) -> PushPreferences:
    return PushPreferences("user2", **changes)  # type: ignore[arg-type]


NIGHT = QuietHours("22:00", "07:00", "Asia/Seoul")  # NOW is 21:00 there
EVENING = QuietHours("20:30", "21:30", "Asia/Seoul")
MUTED = member(muted_until=NOW + DAY)


@pytest.mark.parametrize(
    ("changes", "mentions", "rule"),
    [
        ({"tokens": []}, [], Rule.NO_TOKEN),
        ({"suspended": True}, ["user2"], Rule.SUSPENDED),
        ({"suspended": True, "tokens": []}, [], Rule.SUSPENDED),
        ({"blocked": frozenset({"user1"})}, ["user2"], Rule.BLOCKED),
        ({"blocked": frozenset({"user7"})}, [], None),
        ({"preferences": wishes(quiet=NIGHT)}, [], None),
        ({"preferences": wishes(quiet=EVENING)}, [], Rule.QUIET),
        # A mention passes a mute if its user wants that, and nothing else.
        ({"preferences": wishes(quiet=EVENING)}, ["user2"], Rule.QUIET),
        ({"member": MUTED}, ["user2"], None),
        ({"member": MUTED}, ["user3", "user2"], None),
        ({"member": MUTED}, ["user3"], Rule.MUTED),
        ({"member": MUTED, "preferences": wishes(mentions=False)}, ["user2"], Rule.MUTED),
        ({"member": MUTED, "blocked": frozenset({"user1"})}, ["user2"], Rule.BLOCKED),
    ],
)
def test_what_else_decides(changes: dict[str, object], mentions: list[str], rule: Rule | None) -> None:
    assert suppressed_by(event(mentions=mentions), recipient(**changes), now=NOW) is rule


@pytest.mark.parametrize(
    ("somebody", "concerned"),
    [
        (member(), True),
        (member("user1"), False),  # its sender
        (member(joined_seq=9), True),
        (member(joined_seq=10), False),
        (member(joined_seq=11), False),
    ],
)
def test_whom_a_message_concerns(somebody: Member, concerned: bool) -> None:
    choice = choose([marked(10)], recipient(somebody), now=NOW)
    assert (choice.push is not None) is concerned
    assert choice.suppressed == [], "what does not concern somebody is not suppressed either"


@pytest.mark.parametrize(
    ("somebody", "person"),
    [(member(), True), (member("dev-thermo"), False), (member("svc-bot"), False), (member(left_at=NOW), False)],
)
def test_who_could_look_at_a_screen(somebody: Member, person: bool) -> None:
    assert is_person(somebody) is person


def test_of_many_messages_the_newest_is_pushed_and_stands_for_the_others() -> None:
    newest, middle, oldest = marked(12), marked(11), marked(10)
    choice = choose([newest, middle, oldest], recipient(), now=NOW)
    assert choice.push is newest
    assert choice.suppressed == [(middle.event, Rule.SUPERSEDED), (oldest.event, Rule.SUPERSEDED)]


def test_of_many_messages_a_muted_member_is_pushed_the_newest_that_names_them() -> None:
    newest, mention, older = marked(12), marked(11, mentions=["user2"]), marked(10, mentions=["user2"])
    choice = choose([newest, mention, older], recipient(MUTED), now=NOW)
    assert choice.push is mention
    assert choice.suppressed == [(newest.event, Rule.MUTED), (older.event, Rule.SUPERSEDED)]


def test_of_many_messages_who_writes_is_pushed_the_newest_of_the_others() -> None:
    own, other = marked(12, sender="user2"), marked(11)
    choice = choose([own, other], recipient(), now=NOW)
    assert (choice.push, choice.suppressed) == (other, [])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"type": "edit"}, Rule.NOT_A_MESSAGE),
        ({"type": "delete"}, Rule.NOT_A_MESSAGE),
        ({"type": "reaction"}, Rule.NOT_A_MESSAGE),
        ({"type": "system"}, Rule.NOT_A_MESSAGE),
        ({"type": "void"}, Rule.NOT_A_MESSAGE),
        ({"deleted_at": NOW, "body": None}, Rule.DELETED),
        ({"expires_at": NOW}, Rule.EXPIRED),
        ({"expires_at": NOW + timedelta(seconds=1)}, None),
    ],
)
def test_when_nobody_is_pushed(changes: dict[str, object], why: Rule | None) -> None:
    assert pointless(event(**changes), now=NOW) == why


def test_who_looks_connected_has_a_grace() -> None:
    assert grace_ends(event(at=NOW), timedelta(seconds=3)) == NOW + timedelta(seconds=3)
