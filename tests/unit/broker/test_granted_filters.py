"""A filter is granted only if every topic that it can match is granted (P5): random filters against brute force.

The oracle below says for one topic name who may listen; what a filter can match is found by trying every topic of a small
alphabet, with a matcher of its own. Neither shares code with `chat.permissions`, `chat.topics` or `mqtt.filters`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.memory import memory_stores
from broker.chat_policy import ChatPolicy
from broker.policy import Action, Identity
from chat import permissions
from chat.ids import is_device, is_service
from chat.models import Chat, ChatKind, Device, Member, Principal, PrincipalKind, Role
from chat.topics import Kind, parse
from tests.unit.broker.conftest import AT, Accounts

CHATS = {"g-1": {"owner": Role.OWNER, "reader": Role.READER, "dev-1": Role.MEMBER}, "g-2": {"friend": Role.OWNER}}
FORMER = {"g-1": {"former": Role.ADMIN}}
SHARED = {"g-2": {"owner": Role.MEMBER}}
OWNERS = {"dev-1": "owner", "dev-2": "stranger"}
PEOPLE = ("owner", "reader", "former", "friend", "stranger", "dev-1", "dev-2", "svc-bridge")

FIRST = ("chats", "users", "devices", "$events", "$SYS", "x", "")
SECOND = ("g-1", "g-2", "g-9", "owner", "reader", "friend", "stranger", "dev-1", "dev-2", "delivered", "")
THIRD = ("messages", "receipts", "typing", "send", "ack", "inbox", "sync", "presence", "telemetry", "commands", "x")
FOURTH = ("owner", "friend", "dev-1", "x", "")

UNIVERSE = [
    "/".join(levels)
    for depth in range(1, 6)
    for levels in itertools.product(*(FIRST, SECOND, THIRD, FOURTH, ("x",))[:depth])
    if "/".join(levels)
]
"""Every topic name of the alphabet: some 8,000."""


@dataclass(frozen=True)
class World:
    """Who is where, asked by the oracle only."""

    members: dict[str, frozenset[str]]

    def shares(self, one: str, other: str) -> bool:
        return any(one in people and other in people for people in self.members.values())


WORLD = World({chat: frozenset(CHATS[chat]) | frozenset(SHARED.get(chat, ())) for chat in CHATS})


def may_listen(who: str, topic: str) -> bool:
    """The oracle: whether `who` may be sent what is published on a topic name."""
    if who.startswith("svc-"):
        return True
    levels = topic.split("/")
    match levels:
        case ["chats", chat, "messages" | "receipts"]:
            return who in WORLD.members.get(chat, ())
        case ["chats", chat, "typing", _]:  # also on names that nobody can have: nobody may publish there
            return who in WORLD.members.get(chat, ())
        case ["users", user, "inbox"]:
            return user == who
        case ["users", user, "presence"]:
            return user == who or WORLD.shares(who, user)
        case ["devices", device, "telemetry", *_]:
            return OWNERS.get(device) == who
        case ["devices", device, "commands", *_]:
            return device == who and device in OWNERS
        case _:
            return False


def matched(topic_filter: str) -> list[str]:
    """By a regular expression: `+` is one level, `#` any number of them, its own parent included; neither takes a first `$`."""
    if topic_filter.startswith("$share/"):
        topic_filter = topic_filter.split("/", 2)[-1]
    parts = [re.escape(level) if level != "+" else "[^/]*" for level in topic_filter.split("/")]
    if parts[-1] == re.escape("#"):
        pattern = "/".join(parts[:-1]) + "(/.*)?" if len(parts) > 1 else ".*"
    else:
        pattern = "/".join(parts)
    expression = re.compile(pattern)
    hidden = topic_filter[0] in "+#"
    return [topic for topic in UNIVERSE if expression.fullmatch(topic) and not (hidden and topic.startswith("$"))]


def level(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(names), st.just("+"))


@st.composite
def filters(draw: st.DrawFn) -> str:
    """Well-formed filters: mostly near the rows of the contract, with wildcards anywhere."""
    depth = draw(st.integers(1, 5))
    levels = [draw(level(names)) for names in (FIRST, SECOND, THIRD, FOURTH, ("x",))[:depth]]
    if draw(st.booleans()):
        levels.append("#")
    text = "/".join(levels) or "+"
    return f"$share/group/{text}" if draw(st.integers(0, 9)) == 0 else text


def _identity(who: str) -> Identity:
    return Identity(who, service=is_service(who))


async def _policy() -> ChatPolicy:
    stores = memory_stores()
    for chat in CHATS:
        await stores.chats.create(Chat(id=chat, kind=ChatKind.GROUP, created_at=AT, created_by="owner"), [])
    for table in (CHATS, SHARED, FORMER):
        for chat, people in table.items():
            for user, role in people.items():
                assert await stores.chats.add_member(Member(chat=chat, user=user, role=role, joined_at=AT))
    for chat, people in FORMER.items():
        for user in people:
            assert await stores.chats.remove_member(chat, user, AT)
    for device, owner in OWNERS.items():
        await stores.devices.add(Device(id=device, owner=owner, name="온도계", secret_hash="", created_at=AT))
    return ChatPolicy(Accounts(), stores.chats, stores.devices, stores.grants, stores.blocks)


@pytest.fixture(scope="module")
def policy() -> ChatPolicy:
    return asyncio.run(_policy())


def granted(policy: ChatPolicy, who: str, topic_filter: str) -> bool:
    (answer,) = asyncio.run(policy.decide(Action.SUBSCRIBE, [(_identity(who), topic_filter)]))
    return answer


@given(who=st.sampled_from(PEOPLE), topic_filter=filters())
@settings(max_examples=400, deadline=None)
@example(who="owner", topic_filter="chats/g-1/typing/+")
@example(who="owner", topic_filter="chats/g-1/typing/#")
@example(who="owner", topic_filter="chats/g-1/#")
@example(who="owner", topic_filter="chats/+/messages")
@example(who="owner", topic_filter="devices/dev-1/telemetry/#")
@example(who="owner", topic_filter="devices/dev-1/telemetry/+/x")
@example(who="owner", topic_filter="devices/dev-1/#")
@example(who="owner", topic_filter="users/+/presence")
@example(who="owner", topic_filter="$share/group/chats/g-1/messages")
@example(who="dev-1", topic_filter="devices/dev-1/commands/#")
@example(who="dev-2", topic_filter="devices/+/commands/#")
@example(who="stranger", topic_filter="devices/dev-2/telemetry/+")
def test_who_is_granted_a_filter_may_be_sent_all_that_it_matches(
    policy: ChatPolicy, who: str, topic_filter: str
) -> None:
    if granted(policy, who, topic_filter):
        wrong = [topic for topic in matched(topic_filter) if not may_listen(who, topic)]
        assert not wrong, f"{who} is granted {topic_filter}, and with it {wrong[:5]}"


def test_each_topic_name_by_itself(policy: ChatPolicy) -> None:
    """Without wildcards nothing is granted that may not be, and of the contract nothing is missing, in the whole alphabet."""
    asked = [(who, topic) for who in PEOPLE for topic in UNIVERSE]
    answers = asyncio.run(policy.decide(Action.SUBSCRIBE, [(_identity(who), topic) for who, topic in asked]))
    for (who, topic), answer in zip(asked, answers, strict=True):
        right = may_listen(who, topic)
        named = who.startswith("svc-") or parse(topic) is not None
        assert answer is (right and named), (who, topic)


def test_the_filters_that_people_need_are_granted(policy: ChatPolicy) -> None:
    for who, topic_filter in (
        ("owner", "chats/g-1/messages"),
        ("reader", "chats/g-1/typing/+"),
        ("owner", "users/friend/presence"),
        ("owner", "devices/dev-1/telemetry/#"),
        ("dev-1", "devices/dev-1/commands/#"),
        ("svc-bridge", "$share/bridge/chats/+/send/+"),
    ):
        assert granted(policy, who, topic_filter)
        assert matched(topic_filter)


@given(topic_filter=filters(), kind=st.sampled_from([PrincipalKind.USER, PrincipalKind.DEVICE]))
@settings(max_examples=300, deadline=None)
def test_whatever_the_facts_are_a_wildcard_stays_within_one_chat_or_device(
    topic_filter: str, kind: PrincipalKind
) -> None:
    """The pure rules, with every fact on the asker's side: what they grant has its first three levels without a wildcard."""
    who = "owner" if kind is PrincipalKind.USER else "dev-1"
    assert is_device(who) is (kind is PrincipalKind.DEVICE)
    topic = parse(topic_filter)
    facts = permissions.Facts(Member("g-1", who, Role.OWNER, AT), shares_chat=True, owns_device=True)
    if permissions.allows(Principal(who, kind), permissions.Action.SUBSCRIBE, topic, facts):
        assert topic is not None
        topics = matched(topic_filter)
        assert len({name.split("/")[1] for name in topics}) <= 1, topics
        assert {parsed.kind for name in topics if (parsed := parse(name)) is not None} <= {topic.kind}
        assert topic.kind not in {Kind.SEND, Kind.ACK, Kind.SYNC, Kind.EVENTS}
