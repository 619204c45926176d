"""Who may do what: every topic of the contract, every role, both actions, against a second statement of the rules.

The oracle below is written from the table in `chat/topics.py` for people to read, cell by cell; it shares no code with
`chat.permissions`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.models import Member, Principal, PrincipalKind, Role
from chat.permissions import Action, Facts, Need, allows, may_manage_members, may_remove, needs
from chat.topics import parse

AT = datetime(2026, 5, 4, tzinfo=UTC)
ME = "user1"


class Who(NamedTuple):
    """Somebody who asks: `role` None is no member; `left` one who was."""

    name: str
    kind: PrincipalKind = PrincipalKind.USER
    role: Role | None = None
    left: bool = False
    shares: bool = False
    owns: bool = False


PEOPLE = {
    "owner": Who(ME, role=Role.OWNER),
    "admin": Who(ME, role=Role.ADMIN),
    "member": Who(ME, role=Role.MEMBER),
    "reader": Who(ME, role=Role.READER),
    "outsider": Who(ME),
    "former owner": Who(ME, role=Role.OWNER, left=True),
    "former member": Who(ME, role=Role.MEMBER, left=True),
    "acquaintance": Who(ME, shares=True),
    "device owner": Who(ME, owns=True),
    "member device": Who("dev-1", PrincipalKind.DEVICE, role=Role.MEMBER),
    "device": Who("dev-1", PrincipalKind.DEVICE),
    "service": Who("svc-bridge", PrincipalKind.SERVICE),
}
WRITERS = {"owner", "admin", "member", "member device", "service"}
LISTENERS = WRITERS | {"reader"}
EVERYBODY = set(PEOPLE)
USERS = EVERYBODY - {"member device", "device"}  # those whose name is user1, and services
THINGS = {"member device", "device", "service"}
ONLY_SERVICES = {"service"}

# (topic; "{me}" is whoever asks) -> who may publish, who may subscribe
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "chats/g-1/send/{me}": (WRITERS, ONLY_SERVICES),
    "chats/g-1/send/user9": (ONLY_SERVICES, ONLY_SERVICES),
    "chats/g-1/messages": (ONLY_SERVICES, LISTENERS),
    "chats/g-1/ack/{me}": (LISTENERS, ONLY_SERVICES),
    "chats/g-1/ack/user9": (ONLY_SERVICES, ONLY_SERVICES),
    "chats/g-1/receipts": (ONLY_SERVICES, LISTENERS),
    "chats/g-1/typing/{me}": (WRITERS, LISTENERS),
    "chats/g-1/typing/user9": (ONLY_SERVICES, LISTENERS),
    "chats/g-1/typing/+": (ONLY_SERVICES, LISTENERS),
    "users/{me}/inbox": (ONLY_SERVICES, EVERYBODY),
    "users/user9/inbox": (ONLY_SERVICES, ONLY_SERVICES),
    "users/{me}/sync": (EVERYBODY, ONLY_SERVICES),
    "users/user9/sync": (ONLY_SERVICES, ONLY_SERVICES),
    "users/user9/presence": (ONLY_SERVICES, {"acquaintance", "service"}),
    "devices/dev-1/telemetry/t": (THINGS, {"device owner", "service"}),
    "devices/dev-1/telemetry/#": (THINGS, {"device owner", "service"}),
    "devices/dev-1/commands/on": ({"device owner", "service"}, THINGS),
    "devices/dev-1/commands/#": ({"device owner", "service"}, THINGS),
    "devices/dev-9/telemetry/t": (ONLY_SERVICES, {"device owner", "service"}),
    "devices/dev-9/commands/#": ({"device owner", "service"}, ONLY_SERVICES),
    "$events/delivered": (ONLY_SERVICES, ONLY_SERVICES),
    "$events/connected": (ONLY_SERVICES, ONLY_SERVICES),
    "$events/disconnected": (ONLY_SERVICES, ONLY_SERVICES),
    "#": (ONLY_SERVICES, ONLY_SERVICES),
    "chats/#": (ONLY_SERVICES, ONLY_SERVICES),
    "+/+/messages": (ONLY_SERVICES, ONLY_SERVICES),
    "chats/+/messages": (ONLY_SERVICES, ONLY_SERVICES),
    "chats/g-1/#": (ONLY_SERVICES, ONLY_SERVICES),
    "chats/g-1/send/+": (ONLY_SERVICES, ONLY_SERVICES),
    "users/+/inbox": (ONLY_SERVICES, ONLY_SERVICES),
    "$share/bridge/chats/+/send/+": (ONLY_SERVICES, ONLY_SERVICES),
    "$SYS/broker/load": (ONLY_SERVICES, ONLY_SERVICES),
    "anything/else": (ONLY_SERVICES, ONLY_SERVICES),
    "": (ONLY_SERVICES, ONLY_SERVICES),
}


def facts_of(who: Who) -> Facts:
    member = None
    if who.role is not None:
        member = Member("g-1", who.name, who.role, AT, left_at=AT if who.left else None)
    return Facts(member=member, shares_chat=who.shares, owns_device=who.owns)


@pytest.mark.parametrize("shape", TABLE)
@pytest.mark.parametrize("action", list(Action))
def test_no_cell_is_wrong(shape: str, action: Action) -> None:
    publishers, subscribers = TABLE[shape]
    wanted = publishers if action is Action.PUBLISH else subscribers
    allowed = set()
    for label, who in PEOPLE.items():
        topic = parse(shape.format(me=who.name))
        if allows(Principal(who.name, who.kind), action, topic, facts_of(who)):
            allowed.add(label)
    assert allowed == wanted


@pytest.mark.parametrize("shape", TABLE)
@pytest.mark.parametrize("action", list(Action))
def test_without_facts_nothing_that_needs_one_is_allowed(shape: str, action: Action) -> None:
    for who in PEOPLE.values():
        principal, topic = Principal(who.name, who.kind), parse(shape.format(me=who.name))
        need = needs(principal, action, topic)
        assert allows(principal, action, topic, Facts()) is (need is Need.NOTHING)
        if need is None:
            everything = Facts(Member("g-1", who.name, Role.OWNER, AT), shares_chat=True, owns_device=True)
            assert not allows(principal, action, topic, everything)


@given(text=st.text(max_size=40), action=st.sampled_from(list(Action)))
def test_what_is_no_row_is_denied_to_everybody_but_services(text: str, action: Action) -> None:
    topic = parse(text)
    if topic is None:
        everything = Facts(Member("g-1", ME, Role.OWNER, AT), shares_chat=True, owns_device=True)
        assert not allows(Principal(ME, PrincipalKind.USER), action, topic, everything)
        assert not allows(Principal("dev-1", PrincipalKind.DEVICE), action, topic, everything)


def test_being_an_administrator_opens_no_chat() -> None:
    admin = Principal(ME, PrincipalKind.USER, admin=True)
    assert not allows(admin, Action.SUBSCRIBE, parse("chats/g-1/messages"), Facts())


# ---- members


def member(user: str, role: Role, *, left: bool = False) -> Member:
    return Member("g-1", user, role, AT, left_at=AT if left else None)


def test_who_manages_members() -> None:
    assert {role for role in Role if may_manage_members(member("a", role))} == {Role.OWNER, Role.ADMIN}
    assert not any(may_manage_members(member("a", role, left=True)) for role in Role)
    assert not may_manage_members(None)


@pytest.mark.parametrize("actor", list(Role))
@pytest.mark.parametrize("target", list(Role))
def test_who_removes_whom(actor: Role, target: Role) -> None:
    others = actor in (Role.OWNER, Role.ADMIN) and target is not Role.OWNER
    assert may_remove(member("a", actor), member("b", target)) is others
    assert may_remove(member("a", actor), member("a", actor)), "anybody may leave"
    assert not may_remove(member("a", actor, left=True), member("b", target))
    assert not may_remove(None, member("b", target))
