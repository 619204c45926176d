"""P5: while the stores are asked whether somebody is still a member, what the question is about is held back."""

from __future__ import annotations

import asyncio

import pytest

from broker import doubts, watch
from chat.envelopes import Invalidation
from mqtt.packets import ConnAck, Disconnect, Filter, Properties, Publish, PubRel, SubAck, Subscribe
from tests.unit.broker.conftest import CHAT, House, Socket, reason_of

MESSAGES, TYPING = f"chats/{CHAT}/messages", f"chats/{CHAT}/typing/+"
OTHER, OTHER_TYPING = "chats/g-2/messages", "chats/g-2/typing/+"
STAYS: Properties = {"session_expiry_interval": 3600}


def changed(house: House, chat: str | None = CHAT, user: str = "user1") -> None:
    watch.apply(house.broker, Invalidation(kind="member", chat=chat, user=user))


def ask(house: House) -> asyncio.Event:
    """From now on the stores' answers are on their way until the event is set."""
    house.chats.gate = asyncio.Event()
    return house.chats.gate


async def publish(bridge: Socket, topic: str, payload: bytes, qos: int = 1) -> None:
    bridge.put(Publish(topic, payload, qos, packet_id=7 if qos else 0))
    if qos == 2:
        bridge.put(PubRel(7))
    await bridge.take()


async def came(one: Socket) -> list[bytes]:
    """The payloads that came; nothing is acknowledged."""
    return [packet.payload for packet in await one.take() if isinstance(packet, Publish)]


async def member_of_two(house: House, **options: object) -> tuple[Socket, Socket]:
    await house.join("user1", chat="g-2")
    bridge, one = await house.bridge(), await house.client("user1", **options)
    assert await one.subscribe(MESSAGES, TYPING, OTHER, OTHER_TYPING) == [1, 1, 1, 1]
    return bridge, one


@pytest.mark.parametrize("expelled", [True, False])
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_nothing_of_the_chat_is_delivered_until_the_answer_is_there(
    house: House, qos: int, expelled: bool
) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES, TYPING, qos=qos)
    if expelled:
        await house.expel("user1")
    answer = ask(house)
    changed(house)
    for number in range(5):
        await publish(bridge, MESSAGES, b"%d" % number, qos)
    assert await came(one) == []
    answer.set()
    assert await came(one) == ([] if expelled else [b"%d" % number for number in range(5)])
    house.chats.gate = None
    await publish(bridge, MESSAGES, b"later", qos)
    assert await came(one) == ([] if expelled else [b"later"])
    assert house.broker.core.stats.dropped["no_longer_member"] == (5 if expelled else 0)


async def test_an_acknowledgement_brings_nothing_that_waited_before_the_question_either(house: House) -> None:
    bridge, one = await member_of_two(house, properties={"receive_maximum": 1})
    await publish(bridge, MESSAGES, b"1")
    await publish(bridge, MESSAGES, b"2")
    await publish(bridge, OTHER, b"other")
    await house.expel("user1")
    answer = ask(house)
    changed(house)
    assert await one.payloads() == [b"1"]  # that was sent before, and is acknowledged now
    assert await one.payloads() == []
    answer.set()
    assert await one.payloads() == [b"other"]


async def test_other_chats_come_all_the_same_and_in_order(house: House) -> None:
    bridge, one = await member_of_two(house)
    await house.expel("user1")
    answer = ask(house)
    changed(house)
    await publish(bridge, OTHER_TYPING[:-1] + "user2", b"types", 0)
    assert await one.payloads() == [b"types"]
    for number in range(3):
        await publish(bridge, MESSAGES, b"secret")
        await publish(bridge, OTHER, b"%d" % number)
    answer.set()
    assert await one.payloads() == [b"0", b"1", b"2"]


async def test_who_is_not_in_doubt_gets_everything_meanwhile(house: House) -> None:
    bridge, one, two = await house.bridge(), await house.client("user1"), await house.client("user2")
    for socket in (one, two):
        await socket.subscribe(MESSAGES)
    answer = ask(house)
    changed(house)
    await publish(bridge, MESSAGES, b"x")
    assert await two.payloads() == [b"x"]
    assert house.broker.router.gate is house.broker.doubts
    answer.set()
    assert await one.payloads() == [b"x"]
    assert house.broker.router.gate is None


async def test_what_is_held_is_bounded_and_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "HELD", 3)
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(TYPING)
    answer = ask(house)
    changed(house)
    for number in range(5):
        await publish(bridge, f"chats/{CHAT}/typing/user2", b"%d" % number, 0)
    answer.set()
    assert await one.payloads() == [b"0", b"1", b"2"]
    assert house.broker.core.stats.dropped["in_doubt"] == 2


async def test_everything_may_be_in_doubt(house: House) -> None:
    bridge, one = await member_of_two(house)
    await one.subscribe("users/user1/presence", "users/user2/presence")
    await one.take()  # what is retained of them
    await house.expel("user1")
    await house.expel("user2")
    answer = ask(house)
    changed(house, chat=None)
    for topic in (MESSAGES, OTHER):
        await publish(bridge, topic, topic.encode())
    for user in ("user1", "user2"):
        await publish(bridge, f"users/{user}/presence", user.encode(), 0)
    assert await one.payloads() == []
    answer.set()
    assert await one.payloads() == [OTHER.encode(), b"user1"]
    assert set(one.connection.session.subscriptions) == {OTHER, OTHER_TYPING, "users/user1/presence"}


async def test_an_answer_that_is_older_than_the_next_change_is_not_believed(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES)
    await house.expel("user1")
    answer = ask(house)
    changed(house)
    await publish(bridge, MESSAGES, b"1")
    await house.join("user1")  # taken back; the first answer, that they are out, is on its way
    changed(house)
    answer.set()
    assert await one.payloads() == [b"1"]
    assert set(one.connection.session.subscriptions) == {MESSAGES}


async def test_and_one_that_says_yes_neither(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES)
    answer = ask(house)
    changed(house)
    await house.rest()
    await house.expel("user1")
    changed(house)
    await publish(bridge, MESSAGES, b"secret")
    answer.set()
    assert await one.payloads() == []
    assert not one.connection.session.subscriptions


async def test_a_session_that_comes_back_meanwhile_is_sent_nothing_before_the_answer(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1", clean=False, properties=STAYS)
    await one.subscribe(MESSAGES)
    one.vanish()
    await publish(bridge, MESSAGES, b"queued")
    slow = ask(house)
    again, nothing = await house.dial("user1", clean=False, properties=STAYS)  # its question is under way
    assert nothing is None
    await house.expel("user1")
    house.chats.gate = asyncio.Event()
    changed(house)
    await house.rest()
    slow.set()  # the answer from before: still a member
    connack = await again.one(ConnAck)
    assert connack.session_present
    await publish(bridge, MESSAGES, b"secret")
    assert await again.payloads() == []
    house.chats.gate.set()
    assert await again.payloads() == []
    assert not again.connection.session.subscriptions


@pytest.mark.parametrize("unavailable", [True, False])
async def test_when_nobody_can_tell_what_was_held_is_not_sent(
    house: House, monkeypatch: pytest.MonkeyPatch, unavailable: bool
) -> None:
    bridge, one = await house.bridge(), await house.client("user1", clean=False, properties=STAYS)
    await one.subscribe(MESSAGES, TYPING)
    answer = ask(house)
    held_up = house.chats.memberships_among

    async def fail(*args: object) -> object:
        await held_up(*args)
        if not unavailable:
            raise RuntimeError("nobody expected this")
        house.chats.fails = True
        return await held_up(*args)

    monkeypatch.setattr(house.chats, "memberships_among", fail, raising=False)
    changed(house)
    await publish(bridge, MESSAGES, b"1")
    await publish(bridge, f"chats/{CHAT}/typing/user2", b"types", 0)
    answer.set()
    (goodbye,) = await one.take()
    assert isinstance(goodbye, Disconnect)
    assert reason_of(goodbye) == 0x89
    monkeypatch.undo()
    house.chats.fails = False
    one, _ = await house.dial("user1", clean=False, properties=STAYS)
    assert await one.payloads() == [b"1"]  # a member still, and nothing of QoS 1 was lost


async def test_who_leaves_the_broker_meanwhile_leaves_nothing_behind(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES, TYPING)
    answer = ask(house)
    changed(house)
    await publish(bridge, f"chats/{CHAT}/typing/user2", b"types", 0)
    one.vanish()
    again = await house.client("user1")
    answer.set()
    await house.rest()
    house.chats.gate = None
    await again.subscribe(MESSAGES)
    await publish(bridge, MESSAGES, b"x")
    assert await again.payloads() == [b"x"]
    assert house.broker.router.gate is None


async def test_a_filter_that_is_granted_meanwhile_is_delivered_after_the_answer(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(TYPING)
    answer = ask(house)
    changed(house)
    one.put(Subscribe(9, [Filter(MESSAGES, 1)]))
    await publish(bridge, MESSAGES, b"early")
    answer.set()
    assert (await one.one(SubAck)).reasons == [1]
    await publish(bridge, MESSAGES, b"x")
    assert await one.payloads() == [b"x"]


async def test_a_gate_that_was_there_before_is_asked_too(house: House) -> None:
    class Closed:
        def admits(self, session: object, topic: str, qos: int, deliver: object) -> bool:  # noqa: ARG002
            return topic != f"chats/{CHAT}/typing/user2"

    gate = house.broker.router.gate = Closed()
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES, TYPING)
    answer = ask(house)
    changed(house)
    for user in ("user2", "user3"):
        await publish(bridge, f"chats/{CHAT}/typing/{user}", user.encode(), 0)
    await publish(bridge, MESSAGES, b"x")
    answer.set()
    assert sorted(await one.payloads()) == [b"user3", b"x"]
    assert house.broker.router.gate is gate
