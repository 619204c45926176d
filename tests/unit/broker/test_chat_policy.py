"""Pabal's policy on real rules and memory stores: who is let in, who may what, and what happens when nobody can tell."""

from __future__ import annotations

import msgspec
import pytest

from broker.policy import Action, Identity, Login, LoginRefused, Undecided
from broker.watch import apply
from chat.envelopes import Invalidation
from chat.errors import Unavailable
from chat.ids import direct_chat_id
from chat.models import Role
from chat.people import Block
from mqtt.packets import Publish
from tests.unit.broker.conftest import AT, CHAT, BuildHouse, House, Socket

MEMBER, READER, OUTSIDER = Identity("user1"), Identity("reader"), Identity("user3")
DEVICE, BRIDGE = Identity("dev-1"), Identity("svc-bridge", service=True)
PUBLISH, SUBSCRIBE = Action.PUBLISH, Action.SUBSCRIBE


async def login(house: House, client_id: str, username: str | None, password: bytes | None = b"pw") -> Identity:
    return await house.broker.core.policy.login(Login(client_id, username, password, "192.0.2.1"))


async def may(house: House, who: Identity, action: Action, topic: str) -> bool:
    (answer,) = await house.broker.core.policy.decide(action, [(who, topic)])
    known = house.broker.core.policy.known(who, action, topic)
    assert known in (None, answer)
    return answer


# ---- login


async def test_who_they_are(house: House) -> None:
    assert await login(house, "user1:phone", "user1", b"pw:s1") == Identity("user1", grant="s1")
    assert await login(house, "dev-1", "dev-1") == Identity("dev-1")
    assert await login(house, "svc-bridge:2", "svc-bridge") == Identity("svc-bridge", service=True, announce=False)


@pytest.mark.parametrize(
    ("client_id", "username", "password", "reason"),
    [
        ("user1", "user1", b"wrong", 0x86),
        ("user1", "user1", None, 0x86),
        ("user1", None, None, 0x86),
        ("user2", "user1", b"pw", 0x85),
        ("user2:phone", "user1", b"pw", 0x85),
        ("user1:", "user1", b"pw", 0x85),
        ("user1:a b", "user1", b"pw", 0x85),
        ("user1phone", "user1", b"pw", 0x85),
        ("svc-bridge", "user1", b"pw", 0x85),
        ("", "user1", b"pw", 0x85),
    ],
)
async def test_who_is_not_let_in(
    house: House, client_id: str, username: str | None, password: bytes | None, reason: int
) -> None:
    with pytest.raises(LoginRefused) as refused:
        await login(house, client_id, username, password)
    assert refused.value.reason == reason


async def test_credentials_that_can_not_be_checked_are_not_wrong(house: House) -> None:
    house.accounts.fails = Unavailable("away")
    with pytest.raises(LoginRefused) as refused:
        await login(house, "user1", "user1")
    assert refused.value.reason == 0x88


# ---- rights


@pytest.mark.parametrize(
    ("action", "topic"),
    [
        (PUBLISH, f"chats/{CHAT}/send/user1"),
        (PUBLISH, f"chats/{CHAT}/ack/user1"),
        (PUBLISH, f"chats/{CHAT}/typing/user1"),
        (SUBSCRIBE, f"chats/{CHAT}/messages"),
        (SUBSCRIBE, f"chats/{CHAT}/receipts"),
        (SUBSCRIBE, f"chats/{CHAT}/typing/+"),
    ],
)
async def test_members_may_what_others_and_former_members_may_not(house: House, action: Action, topic: str) -> None:
    assert await may(house, MEMBER, action, topic)
    assert not await may(house, OUTSIDER, action, topic.replace("user1", "user3"))
    await house.expel("user1")
    assert not await may(house, MEMBER, action, topic)
    await house.join("user1")
    assert await may(house, MEMBER, action, topic)


@pytest.mark.parametrize(
    ("action", "topic"),
    [
        (PUBLISH, f"chats/{CHAT}/send/user2"),
        (PUBLISH, f"chats/{CHAT}/messages"),
        (PUBLISH, f"chats/{CHAT}/receipts"),
        (PUBLISH, "users/user2/sync"),
        (PUBLISH, "users/user1/inbox"),
        (PUBLISH, "users/user1/presence"),
        (PUBLISH, "$events/delivered"),
        (PUBLISH, "anything"),
        (SUBSCRIBE, f"chats/{CHAT}/send/user1"),
        (SUBSCRIBE, f"chats/{CHAT}/send/+"),
        (SUBSCRIBE, f"chats/{CHAT}/#"),
        (SUBSCRIBE, f"chats/{CHAT}/+"),
        (SUBSCRIBE, "chats/+/messages"),
        (SUBSCRIBE, "chats/no-such-chat/messages"),
        (SUBSCRIBE, "#"),
        (SUBSCRIBE, "+/+/messages"),
        (SUBSCRIBE, "$share/bridge/chats/+/send/+"),
        (SUBSCRIBE, f"$share/g/chats/{CHAT}/messages"),
        (SUBSCRIBE, "users/user2/inbox"),
        (SUBSCRIBE, "users/+/inbox"),
        (SUBSCRIBE, "users/user3/presence"),
        (SUBSCRIBE, "$events/delivered"),
        (SUBSCRIBE, "$SYS/#"),
    ],
)
async def test_what_a_member_may_not_and_services_may(house: House, action: Action, topic: str) -> None:
    assert not await may(house, MEMBER, action, topic)
    assert await may(house, BRIDGE, action, topic)


async def test_a_reader_listens_and_acknowledges_and_does_not_write(house: House) -> None:
    await house.join("reader", Role.READER)
    assert await may(house, READER, SUBSCRIBE, f"chats/{CHAT}/messages")
    assert await may(house, READER, PUBLISH, f"chats/{CHAT}/ack/reader")
    assert not await may(house, READER, PUBLISH, f"chats/{CHAT}/send/reader")
    assert not await may(house, READER, PUBLISH, f"chats/{CHAT}/typing/reader")


async def test_who_is_blocked_is_told_neither_presence_nor_typing(house: House) -> None:
    """Presence of whom they are blocked by, wherever they meet; typing in the direct chat of the two, in both directions, as messages."""
    direct = direct_chat_id("user1", "user2")
    await house.join("user1", chat=direct)
    await house.join("user2", chat=direct)
    other = Identity("user2")
    rights = [
        (MEMBER, SUBSCRIBE, "users/user2/presence", True),
        (other, SUBSCRIBE, "users/user1/presence", False),
        (MEMBER, PUBLISH, f"chats/{direct}/typing/user1", False),
        (other, PUBLISH, f"chats/{direct}/typing/user2", False),
        (MEMBER, PUBLISH, f"chats/{CHAT}/typing/user1", True),
        (other, SUBSCRIBE, f"chats/{direct}/messages", True),
        (other, PUBLISH, f"chats/{direct}/ack/user2", True),
        (other, SUBSCRIBE, "users/user2/presence", True),
    ]
    for who, action, topic, _ in rights:
        assert await may(house, who, action, topic), topic
    await house.stores.blocks.put(Block("user1", "user2", AT))
    for who, action, topic, still in rights:
        assert await may(house, who, action, topic) is still, topic
    await house.stores.blocks.drop("user1", "user2")
    for who, action, topic, _ in rights:
        assert await may(house, who, action, topic), topic


async def test_a_block_cuts_presence_and_typing_that_were_granted(house: House) -> None:
    direct = direct_chat_id("user1", "user2")
    await house.join("user1", chat=direct)
    await house.join("user2", chat=direct)
    one, other = await house.client("user1"), await house.client("user2")
    await other.subscribe("users/user1/presence", f"chats/{direct}/typing/+")
    await other.take()  # the retained presence
    typing = Publish(f"chats/{direct}/typing/user1", b"{}")
    assert [packet.topic for packet in await heard(house, one, other, typing)] == [typing.topic]
    await house.stores.blocks.put(Block("user1", "user2", AT))
    apply(house.broker, Invalidation(kind="member", chat=direct, user="user1"))
    apply(house.broker, Invalidation(kind="relation", user="user2"))
    await house.rest()
    (session,) = house.broker.core.sessions_of("user2")
    assert set(session.subscriptions) == {f"chats/{direct}/typing/+"}
    assert await heard(house, one, other, typing) == []


async def heard(house: House, one: Socket, other: Socket, packet: Publish) -> list[Publish]:
    """What `other` gets when `one` publishes."""
    await one.send(packet)
    await house.rest()
    return [got for got in await other.take() if isinstance(got, Publish)]


async def test_presence_is_for_those_who_share_a_chat(house: House) -> None:
    assert await may(house, MEMBER, SUBSCRIBE, "users/user2/presence")
    assert await may(house, OUTSIDER, SUBSCRIBE, "users/user3/presence")  # one's own
    await house.expel("user2")
    assert not await may(house, MEMBER, SUBSCRIBE, "users/user2/presence")


async def test_devices_and_their_owners(house: House) -> None:
    await house.add_device("dev-1", "user1")
    assert await may(house, DEVICE, PUBLISH, "devices/dev-1/telemetry/t")
    assert await may(house, DEVICE, SUBSCRIBE, "devices/dev-1/commands/#")
    assert await may(house, MEMBER, SUBSCRIBE, "devices/dev-1/telemetry/#")
    assert await may(house, MEMBER, PUBLISH, "devices/dev-1/commands/on")
    for who in (Identity("user2"), Identity("dev-2")):
        assert not await may(house, who, SUBSCRIBE, "devices/dev-1/telemetry/#")
        assert not await may(house, who, PUBLISH, "devices/dev-1/commands/on")
        assert not await may(house, who, PUBLISH, "devices/dev-1/telemetry/t")
    assert not await may(house, MEMBER, SUBSCRIBE, "devices/dev-9/telemetry/#")
    await house.join("dev-1")
    assert await may(house, DEVICE, PUBLISH, f"chats/{CHAT}/send/dev-1")


async def test_many_subscriptions_are_one_query(house: House) -> None:
    chats = [f"g-{number}" for number in range(50)]
    for chat in chats[::2]:
        await house.join("user5", chat=chat)
    asked = [(Identity("user5"), f"chats/{chat}/messages") for chat in chats] + [(MEMBER, f"chats/{CHAT}/messages")]
    house.chats.calls.clear()
    answers = await house.broker.core.policy.decide(SUBSCRIBE, asked)
    assert answers == [number % 2 == 0 for number in range(50)] + [True]
    assert house.chats.calls == ["memberships_among"]


async def test_when_nobody_can_tell_nothing_is_decided(house: House) -> None:
    house.chats.fails = True
    policy = house.broker.core.policy
    for action, topic in ((SUBSCRIBE, f"chats/{CHAT}/messages"), (PUBLISH, f"chats/{CHAT}/send/user1")):
        with pytest.raises(Undecided):
            await policy.decide(action, [(MEMBER, topic)])
    assert await policy.decide(SUBSCRIBE, [(MEMBER, "users/user1/inbox"), (MEMBER, "#")]) == [True, False]
    house.grants.fails = True
    with pytest.raises(Undecided):
        await policy.alive({"s"})


async def test_which_grants_are_alive(house: House) -> None:
    await house.sign_in("user1", "s1")
    await house.sign_in("user1", "s2")
    await house.stores.grants.revoke("s2", AT)
    assert await house.broker.core.policy.alive({"s1", "s2", "s3"}) == {"s1"}


# ---- what an invalidation is about, and what a refusal says


def test_a_scope_is_the_chat(build: BuildHouse) -> None:
    policy = build().broker.core.policy
    assert {policy.scope(f"chats/{CHAT}/{rest}") for rest in ("messages", "receipts", "typing/+", "send/user1")} == {
        CHAT
    }
    assert {policy.scope(topic) for topic in ("users/user1/inbox", "devices/dev-1/commands/#", "#", "x")} == {""}


@pytest.mark.parametrize(
    ("payload", "message_id"),
    [(b'{"id":"x","type":"message"}', "x"), (b"nonsense", None), (b"\xff", None), (b"[" * 100_000, None), (b"", None)],
)
def test_a_refused_message_is_rejected_on_the_inbox(build: BuildHouse, payload: bytes, message_id: str | None) -> None:
    policy = build().broker.core.policy
    notice = policy.notice(OUTSIDER, f"chats/{CHAT}/send/user3", payload, "no")
    assert notice is not None
    assert notice.topic == "users/user3/inbox"
    body = msgspec.json.decode(notice.payload)
    assert body.get("id") == message_id
    assert (body["type"], body["code"], body["reason"], body["chat"]) == ("reject", "forbidden", "no", CHAT)


def test_nothing_else_is_told(build: BuildHouse) -> None:
    policy = build().broker.core.policy
    assert policy.notice(OUTSIDER, f"chats/{CHAT}/typing/user3", b"", "no") is None
    assert policy.notice(OUTSIDER, "anything", b"", "no") is None
    assert policy.notice(BRIDGE, f"chats/{CHAT}/send/user3", b"", "no") is None


async def test_a_client_certificate_says_who_it_is(house: House) -> None:
    async def certified(name: str, username: str | None, client_id: str) -> Identity:
        return await house.broker.core.policy.login(Login(client_id, username, None, "192.0.2.1", name))

    assert (await certified("dev-1", None, "dev-1")).id == "dev-1"
    assert (await certified("svc-bridge", "svc-bridge", "svc-bridge:2")).service
    for name, username, client_id in (
        ("dev-1", "dev-2", "dev-2"),
        ("dev-1", "svc-bridge", "svc-bridge"),
        ("dev-1", None, "dev-2"),
        ("", None, "dev-1"),
        ("", "dev-1", "dev-1"),
        ("user1", None, "user1"),
    ):
        with pytest.raises(LoginRefused):
            await certified(name, username, client_id)
