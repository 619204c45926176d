"""SENT, DELIVERED, SEEN: from watermarks and the log of their moves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from chat.envelopes import Event
from chat.models import EVERYBODY, Member, Receipt, Role
from chat.status import Audience, Progress, Status, progress

T0 = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return T0 + timedelta(seconds=seconds)


def member(user: str, delivered: int = 0, seen: int = 0, *, joined: int = 0) -> Member:
    return Member(
        chat="c", user=user, role=Role.MEMBER, joined_at=T0, joined_seq=joined, delivered_seq=delivered, seen_seq=seen
    )


def event(seq: int, sender: str = "a") -> Event:
    return Event(type="message", id=f"m{seq}", chat="c", seq=seq, n=seq, sender=sender, at=T0)


def receipt(user: str, kind: str, seq: int, seconds: int) -> Receipt:
    return Receipt(chat="c", user=user, kind=kind, seq=seq, at=at(seconds))


def one(members: list[Member], receipts: list[Receipt], *, seq: int = 5, sender: str = "a") -> Progress:
    return progress([event(seq, sender)], Audience(members), receipts)[0]


@pytest.mark.parametrize(
    ("delivered", "seen", "status"),
    [
        (0, 0, Status.SENT),
        (4, 4, Status.SENT),
        (5, 0, Status.DELIVERED),
        (5, 4, Status.DELIVERED),
        (9, 5, Status.SEEN),
    ],
)
def test_one_other(delivered: int, seen: int, status: Status) -> None:
    assert one([member("a", 5, 5), member("b", delivered, seen)], []).status is status


def test_all_others_count_and_the_slowest_decides() -> None:
    assert one([member("a"), member("b", 9, 9), member("c", 5, 4)], []).status is Status.DELIVERED
    assert one([member("a"), member("b", 9, 9), member("c", 4, 4)], []).status is Status.SENT
    assert one([member("a"), member("b", 9, 9), member("c", 5, 5)], []).status is Status.SEEN


def test_the_sender_does_not_hold_it_back() -> None:
    assert one([member("a", 0, 0), member("b", 9, 9)], []).status is Status.SEEN


def test_each_event_has_its_own_sender() -> None:
    states = progress([event(1, "a"), event(2, "b")], Audience([member("a", 0, 0), member("b", 2, 2)]), [])
    assert [state.status for state in states] == [Status.SEEN, Status.SENT]


def test_devices_do_not_count() -> None:
    assert one([member("a"), member("b", 9, 9), member("dev-1", 0, 0)], []).status is Status.SEEN
    assert one([member("a"), member("dev-1", 9, 9)], []).status is Status.SENT


def test_who_joined_later_does_not_count() -> None:
    assert one([member("a"), member("b", 9, 9), member("c", 0, 0, joined=5)], []).status is Status.SEEN
    assert one([member("a"), member("b", 9, 9), member("c", 0, 0, joined=4)], []).status is Status.SENT


def test_nobody_else_is_sent() -> None:
    assert one([member("a", 9, 9)], [receipt("a", "seen", 9, 1)]) == Progress(Status.SENT)
    assert one([], []) == Progress(Status.SENT)


def test_a_sender_who_has_left_does_not_matter() -> None:
    assert one([member("b", 9, 9)], [], sender="gone").status is Status.SEEN


def test_times_are_those_of_the_last_one() -> None:
    receipts = [
        receipt("b", "delivered", 5, 1),
        receipt("b", "seen", 5, 4),
        receipt("c", "delivered", 5, 3),
        receipt("c", "seen", 5, 6),
    ]
    found = one([member("a"), member("b", 5, 5), member("c", 5, 5)], receipts)
    assert found == Progress(Status.SEEN, delivered_at=at(3), seen_at=at(6))


def test_a_move_that_jumped_over_an_event_is_when_it_was_reached() -> None:
    receipts = [receipt("b", "delivered", 3, 1), receipt("b", "delivered", 8, 2), receipt("b", "delivered", 9, 7)]
    found = one([member("a"), member("b", 9, 0)], receipts)
    assert found == Progress(Status.DELIVERED, delivered_at=at(2))


def test_no_times_before_all_have_reached_it() -> None:
    receipts = [receipt("b", "delivered", 5, 1), receipt("b", "seen", 5, 2)]
    assert one([member("a"), member("b", 5, 5), member("c", 4, 0)], receipts) == Progress(Status.SENT)
    found = one([member("a"), member("b", 5, 5), member("c", 5, 0)], [*receipts, receipt("c", "delivered", 5, 9)])
    assert found == Progress(Status.DELIVERED, delivered_at=at(9))


def test_what_was_seen_was_delivered_even_if_only_the_sight_was_logged() -> None:
    found = one([member("a"), member("b", 5, 5)], [receipt("b", "seen", 5, 4)])
    assert found == Progress(Status.SEEN, delivered_at=at(4), seen_at=at(4))


def test_a_log_that_no_longer_tells_gives_no_time() -> None:
    assert one([member("a"), member("b", 5, 5)], []) == Progress(Status.SEEN)


def test_a_page_of_many_senders_and_late_joiners() -> None:
    members = [member("a", 3, 2), member("b", 2, 1), member("c", 4, 4, joined=2)]
    events = [event(1, "a"), event(2, "b"), event(3, "a"), event(4, "c")]
    states = progress(events, Audience(members), [])
    assert [state.status for state in states] == [Status.SEEN, Status.SEEN, Status.SENT, Status.SENT]


def test_where_only_everybody_is_logged_that_is_the_time() -> None:
    receipts = [receipt(EVERYBODY, "delivered", 6, 3), receipt(EVERYBODY, "seen", 5, 8)]
    assert one([member("a"), member("b", 6, 5), member("c", 7, 5)], receipts) == Progress(
        Status.SEEN, delivered_at=at(3), seen_at=at(8)
    )
    assert one([member("a"), member("b", 6, 0)], receipts, seq=6) == Progress(Status.DELIVERED, delivered_at=at(3))
    assert one([member("a"), member("b", 7, 0)], receipts, seq=7) == Progress(Status.DELIVERED), "not counted yet"


def test_of_a_chat_that_grew_or_shrank_the_earlier_row_tells() -> None:
    """`b` has a row from the small chat before, `c` one from the small chat afterwards, which comes late."""
    receipts = [
        receipt("b", "delivered", 5, 1),
        receipt(EVERYBODY, "delivered", 5, 4),
        receipt("c", "delivered", 9, 7),
    ]
    found = one([member("a"), member("b", 9, 0), member("c", 9, 0)], receipts)
    assert found == Progress(Status.DELIVERED, delivered_at=at(4))


def as_defined(
    seq: int, users: Sequence[str], receipts: Sequence[Receipt], kinds: Sequence[str], status: Status
) -> datetime | None:
    """When the last of `users` had come to `seq`, word for word: of each the earliest move that reached it, their own or everybody's."""
    times: list[datetime | None] = []
    for user in users:
        found = []
        for who in (user, EVERYBODY):
            for kind in kinds:
                behind = [move for move in receipts if (move.user, move.kind) == (who, kind) and move.seq >= seq]
                found += [min(behind, key=lambda move: move.seq).at] if behind else []
        times.append(min(found, default=None))
    known = [time for time in times if time is not None]
    whole = status is not Status.SENT and known and len(known) == len(times)
    return max(known) if whole else None


@pytest.mark.parametrize("number", range(30))
def test_the_log_tells_of_each_event_of_a_page_what_it_tells_of_it_alone(number: int) -> None:
    """Whatever the moves are: also of people who jump ahead, come late, are logged together, or whose clocks went back."""
    rng = random.Random(number)  # noqa: S311 - the same in each run
    people = ["a", "b", "c", "d"][: rng.randint(2, 4)]
    members = [member(one, rng.randint(0, 40), rng.randint(0, 40), joined=rng.choice((0, 0, 12))) for one in people]
    audience = Audience(members)
    moves = {
        (rng.choice([*people, EVERYBODY]), rng.choice(("delivered", "seen")), rng.randint(1, 45)): rng.randint(0, 900)
        for _ in range(rng.randint(0, 60))
    }
    receipts = [receipt(user, kind, seq, seconds) for (user, kind, seq), seconds in moves.items()]
    events = [event(seq, rng.choice(people)) for seq in range(5, 35)]
    for one_event, found in zip(events, progress(events, audience, receipts), strict=True):
        users, seen = audience.of(one_event), found.status if found.status is Status.SEEN else Status.SENT
        assert found == Progress(
            audience.status(one_event),
            as_defined(one_event.seq, users, receipts, ("delivered", "seen"), found.status),
            as_defined(one_event.seq, users, receipts, ("seen",), seen),
        )
