"""Who may come near, see, come in, hand over, and take away: each rule against a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from chat import permissions
from chat.models import ChatKind, Circle, Member, Role, User
from chat.people import InvitationLink, good

AT = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("whom", "contact", "blocked", "allowed"),
    [
        (Circle.EVERYONE, False, False, True),
        (Circle.EVERYONE, True, False, True),
        (Circle.EVERYONE, False, True, False),
        (Circle.EVERYONE, True, True, False),
        (Circle.CONTACTS, False, False, False),
        (Circle.CONTACTS, True, False, True),
        (Circle.CONTACTS, False, True, False),
        (Circle.CONTACTS, True, True, False),
    ],
)
def test_whom_a_user_lets_come_near_and_see(whom: Circle, contact: bool, blocked: bool, allowed: bool) -> None:
    near = User("haneul", "김하늘", "", AT, reachable_by=whom)
    seen = User("haneul", "김하늘", "", AT, profile_for=whom)
    assert permissions.may_reach(near, contact=contact, blocked=blocked) is allowed
    assert permissions.shows_profile(seen, contact=contact, blocked=blocked) is allowed
    # each wish is about its own matter
    assert permissions.may_reach(seen, contact=contact, blocked=blocked) is not blocked
    assert permissions.shows_profile(near, contact=contact, blocked=blocked) is not blocked


@pytest.mark.parametrize("actor", list(Role))
@pytest.mark.parametrize("target", list(Role))
def test_only_the_owner_hands_over_and_only_to_another_person(actor: Role, target: Role) -> None:
    me, other = Member("g-1", "haneul", actor, AT), Member("g-1", "bada", target, AT)
    assert permissions.may_hand_over(me, other) is (actor is Role.OWNER)
    assert not permissions.may_hand_over(me, me)
    assert not permissions.may_hand_over(me, Member("g-1", "dev-x", target, AT))
    assert not permissions.may_hand_over(Member("g-1", "haneul", actor, AT, left_at=AT), other)
    assert not permissions.may_hand_over(None, other)


def test_in_a_channel_who_is_brought_in_reads() -> None:
    assert {kind: permissions.default_role(kind) for kind in ChatKind} == {
        ChatKind.DIRECT: Role.MEMBER,
        ChatKind.GROUP: Role.MEMBER,
        ChatKind.CHANNEL: Role.READER,
    }
    assert permissions.default_role(ChatKind.CHANNEL) not in permissions.WRITERS


def test_who_was_taken_out_does_not_come_by_a_link() -> None:
    left = Member("g-1", "bada", Role.MEMBER, AT, left_at=AT)
    assert permissions.may_come_by_link(None)
    assert permissions.may_come_by_link(left)
    assert not permissions.may_come_by_link(Member("g-1", "bada", Role.MEMBER, AT, left_at=AT, removed_by="haneul"))


def test_blocked_one_may_take_away_and_add_nothing() -> None:
    types = ("message", "edit", "delete", "hide", "reaction", "forward", "pin", "unpin", "unheard-of")
    assert [type_ for type_ in types if permissions.may_send_blocked(type_)] == ["delete", "hide"]


@pytest.mark.parametrize(
    ("fields", "is_good"),
    [
        ({}, True),
        ({"max_uses": 3, "uses": 2}, True),
        ({"max_uses": 3, "uses": 3}, False),
        ({"uses": 1000}, True),
        ({"revoked_at": AT}, False),
        ({"expires_at": AT}, False),
    ],
)
def test_when_a_link_is_good(fields: dict[str, object], is_good: bool) -> None:
    made = {"created_by": "haneul", "created_at": AT, "expires_at": AT + timedelta(days=1)}
    link = InvitationLink("inv-1", "g-1", "hash", Role.MEMBER, **{**made, **fields})  # type: ignore[arg-type]
    assert good(link, AT) is is_good
