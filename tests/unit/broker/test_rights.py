"""P5: nobody reads or writes a chat that they are not a member of now, whatever was allowed before."""

from __future__ import annotations

import asyncio

import pytest

from broker import watch
from chat.envelopes import Invalidation
from mqtt.packets import ConnAck, Disconnect, Filter, Properties, PubAck, Publish, SubAck, Subscribe, Will
from tests.unit.broker.conftest import AT, CHAT, House, Socket, reason_of

MESSAGES, RECEIPTS, SEND = f"chats/{CHAT}/messages", f"chats/{CHAT}/receipts", f"chats/{CHAT}/send/user1"
STAYS: Properties = {"session_expiry_interval": 3600}


def member_changed(user: str = "user1", chat: str = CHAT) -> Invalidation:
    return Invalidation(kind="member", chat=chat, user=user)


async def fan_out(bridge: Socket, payload: bytes, topic: str = MESSAGES) -> None:
    """The bridge publishes to a chat."""
    answers = await bridge.send(Publish(topic, payload, 1, packet_id=77))
    assert any(isinstance(packet, PubAck) and packet.packet_id == 77 for packet in answers)


async def test_after_an_invalidation_a_removed_member_gets_nothing_and_the_others_do(house: House) -> None:
    bridge, one, two = await house.bridge(), await house.client("user1"), await house.client("user2")
    for socket in (one, two):
        assert await socket.subscribe(MESSAGES, RECEIPTS, f"chats/{CHAT}/typing/+") == [1, 1, 1]
    await fan_out(bridge, b"before")
    assert await one.payloads() == await two.payloads() == [b"before"]
    await house.expel("user1")
    watch.apply(house.broker, member_changed())
    await house.rest()
    await fan_out(bridge, b"after")
    await fan_out(bridge, b"after", RECEIPTS)
    two.put(Publish(f"chats/{CHAT}/typing/user2", b"typing"))
    await house.rest()
    assert await one.payloads() == []
    assert await two.payloads() == [b"after", b"after", b"typing"]
    assert not one.connection.session.subscriptions
    assert await one.subscribe(MESSAGES) == [0x87]


async def test_an_invalidation_that_changes_nothing_loses_nothing(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES)
    watch.apply(house.broker, member_changed())
    await fan_out(bridge, b"1")
    await house.rest()
    await fan_out(bridge, b"2")
    assert await one.payloads() == [b"1", b"2"]


async def test_other_chats_of_a_removed_member_stay(house: House) -> None:
    await house.join("user1", chat="g-2")
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES, "chats/g-2/messages", "users/user1/inbox")
    await house.expel("user1")
    watch.apply(house.broker, member_changed())
    await house.rest()
    assert set(one.connection.session.subscriptions) == {"chats/g-2/messages", "users/user1/inbox"}
    await fan_out(bridge, b"other", "chats/g-2/messages")
    assert await one.payloads() == [b"other"]


async def test_what_waits_for_a_removed_member_is_forgotten_and_what_waits_behind_it_comes(house: House) -> None:
    await house.join("user1", chat="g-2")
    bridge = await house.bridge()
    one = await house.client("user1", properties={"receive_maximum": 1})
    await one.subscribe(MESSAGES, "chats/g-2/messages")
    await fan_out(bridge, b"sent")
    await fan_out(bridge, b"queued")
    await fan_out(bridge, b"other", "chats/g-2/messages")
    (sent,) = await one.take()
    assert isinstance(sent, Publish)
    await house.expel("user1")
    watch.apply(house.broker, member_changed())
    await house.rest()
    one.put(PubAck(sent.packet_id))
    assert await one.payloads() == [b"other"]
    assert house.broker.core.stats.dropped["no_longer_member"] == 2


@pytest.mark.parametrize("told", [True, False])
async def test_a_session_that_comes_back_gets_nothing_of_a_chat_it_has_left(house: House, told: bool) -> None:
    await house.join("user1", chat="g-2")
    bridge = await house.bridge()
    one = await house.client("user1", clean=False, properties=STAYS)
    await one.subscribe(MESSAGES, "chats/g-2/messages")
    await fan_out(bridge, b"under way")
    await one.take()  # and not acknowledged
    one.vanish()
    await fan_out(bridge, b"queued")
    await fan_out(bridge, b"other", "chats/g-2/messages")
    await house.expel("user1")
    if told:
        watch.apply(house.broker, member_changed())
        await house.rest()
    one, answer = await house.dial("user1", clean=False, properties=STAYS)
    assert isinstance(answer, ConnAck)
    assert answer.session_present
    assert await one.payloads() == [b"other"]
    await fan_out(bridge, b"live")
    assert await one.payloads() == []


async def test_a_session_that_can_not_be_checked_is_not_resumed_and_not_lost(house: House) -> None:
    bridge = await house.bridge()
    one = await house.client("user1", clean=False, properties=STAYS)
    await one.subscribe(MESSAGES)
    one.vanish()
    await fan_out(bridge, b"queued")
    house.chats.fails = True
    one, answer = await house.dial("user1", clean=False, properties=STAYS)
    assert reason_of(answer) == 0x88
    assert one.closed
    house.chats.fails = False
    one, answer = await house.dial("user1", clean=False, properties=STAYS)
    assert isinstance(answer, ConnAck)
    assert answer.session_present
    assert await one.payloads() == [b"queued"]


async def test_when_an_invalidation_can_not_be_checked_the_connection_ends(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1", clean=False, properties=STAYS)
    await one.subscribe(MESSAGES)
    await house.expel("user1")
    house.chats.fails = True
    watch.apply(house.broker, member_changed())
    assert reason_of((await one.take())[-1]) == 0x89
    assert one.closed
    await fan_out(bridge, b"secret")
    house.chats.fails = False
    one, _ = await house.dial("user1", clean=False, properties=STAYS)
    assert await one.payloads() == []


async def test_a_cached_right_to_publish_falls(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    one.put(Publish(SEND, b"1", 1, packet_id=1))
    assert len(await bridge.take()) == 1
    await house.expel("user1")
    assert await one.send(Publish(SEND, b"2", 1, packet_id=2)) == []  # nobody has told yet: the bridge decides
    await bridge.take()
    watch.apply(house.broker, member_changed())
    (answer,) = await one.send(Publish(SEND, b"3", 1, packet_id=3))
    assert reason_of(answer) == 0x87
    assert await bridge.take() == []


@pytest.mark.parametrize("subscribes", [True, False])
async def test_an_answer_that_an_invalidation_overtook_does_not_count(house: House, subscribes: bool) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    house.chats.gate = asyncio.Event()  # the store has read, and its answer is on its way
    one.put(Subscribe(9, [Filter(MESSAGES, 1)]) if subscribes else Publish(SEND, b"1", 1, packet_id=1))
    await house.rest()
    await house.expel("user1")
    watch.apply(house.broker, member_changed())
    house.chats.gate.set()
    (answer,) = await one.take()
    if subscribes:
        assert isinstance(answer, SubAck)
        assert answer.reasons == [0x87]
    else:
        assert reason_of(answer) == 0x87
    assert await bridge.take() == []


async def test_a_subscribe_that_can_not_be_checked_is_refused_for_now(house: House) -> None:
    one = await house.client("user1")
    house.chats.fails = True
    assert await one.subscribe(MESSAGES, "users/user1/inbox") == [0x80, 0x80]
    house.chats.fails = False
    assert await one.subscribe(MESSAGES, "users/user1/inbox") == [1, 1]


async def test_a_will_is_checked_at_connect(house: House) -> None:
    for topic in (f"chats/{CHAT}/typing/user3", f"chats/{CHAT}/messages", "users/user3/presence", "$events/connected"):
        socket, answer = await house.dial("user3", will=Will(topic, b"x"))
        assert reason_of(answer) == 0x87
        assert socket.closed
    house.chats.fails = True
    _, answer = await house.dial("user1", will=Will(f"chats/{CHAT}/typing/user1", b"x"))
    assert reason_of(answer) == 0x88


@pytest.mark.parametrize("expelled", [True, False])
async def test_and_again_when_it_is_due(house: House, expelled: bool) -> None:
    one, two = (
        await house.client("user1", will=Will(f"chats/{CHAT}/typing/user1", b"will")),
        await house.client("user2"),
    )
    await two.subscribe(f"chats/{CHAT}/typing/+")
    if expelled:
        await house.expel("user1")
    one.vanish()
    assert await two.payloads() == ([] if expelled else [b"will"])


# ---- grants and principals


async def test_a_revoked_grant_ends_its_connections_and_no_others(house: House) -> None:
    phone = await house.client("user1:phone", password=b"pw:s1", clean=False, properties=STAYS)
    tablet = await house.client("user1:tablet", password=b"pw:s2")
    watch.apply(house.broker, Invalidation(kind="grant", sid="s1"))
    assert reason_of((await phone.take())[-1]) == 0x87
    assert phone.closed
    assert not tablet.closed


async def test_a_banned_principal_loses_every_connection(house: House) -> None:
    sockets = [await house.client(f"user1:{name}") for name in ("a", "b")]
    other = await house.client("user2")
    watch.apply(house.broker, Invalidation(kind="principal", user="user1"))
    assert all(socket.closed for socket in sockets)
    assert not other.closed


@pytest.mark.parametrize("ended", [Invalidation(kind="grant", sid="s1"), Invalidation(kind="principal", user="user1")])
async def test_a_login_that_a_revocation_overtakes_is_refused(house: House, ended: Invalidation) -> None:
    one = await house.client("user1", clean=False, properties=STAYS)
    await one.subscribe(MESSAGES)
    one.vanish()
    house.chats.gate = asyncio.Event()  # the credentials have been checked; the subscriptions are being checked
    one, answer = await house.dial("user1", clean=False, properties=STAYS, password=b"pw:s1")
    assert answer is None
    house.clock.now += 1
    watch.apply(house.broker, ended)
    house.chats.gate.set()
    assert reason_of(await one.one(ConnAck)) == 0x87
    assert one.closed
    assert not house.broker.core.connections


# ---- the sweep


async def test_the_sweep_finds_what_nobody_told(house: House) -> None:
    await house.sign_in("user1", "s1")
    await house.sign_in("user2", "s2")
    bridge = await house.bridge()
    one = await house.client("user1", password=b"pw:s1")
    two = await house.client("user2", password=b"pw:s2")
    away = await house.client("user2:away", password=b"pw:s2", clean=False, properties=STAYS)
    for socket in (one, two, away):
        await socket.subscribe(MESSAGES)
    away.vanish()
    one.put(Publish(SEND, b"1", 1, packet_id=1))
    await bridge.take()
    await house.stores.grants.revoke("s1", AT)
    await house.expel("user2")
    await watch.sweep(house.broker)
    assert reason_of((await one.take())[-1]) == 0x87
    assert one.closed
    assert not two.closed
    assert not two.connection.session.subscriptions
    assert not away.connection.session.subscriptions
    (answer,) = await two.send(Publish(f"chats/{CHAT}/send/user2", b"x", 1, packet_id=1))
    assert reason_of(answer) == 0x87


async def test_the_sweep_finds_who_was_banned(house: House) -> None:
    sockets = [await house.client(name) for name in ("user1:a", "user1:b", "dev-1")]
    other = await house.client("user2")
    await watch.sweep(house.broker)
    assert not any(socket.closed for socket in sockets)
    house.accounts.banned = {"user1", "dev-1"}
    await watch.sweep(house.broker)
    assert [reason_of((await socket.take())[-1]) for socket in sockets] == [0x87] * 3
    assert all(socket.closed for socket in sockets)
    assert not other.closed


async def test_a_sweep_that_can_not_ask_changes_nothing(house: House) -> None:
    await house.sign_in("user1", "s1")
    one = await house.client("user1", password=b"pw:s1")
    await one.subscribe(MESSAGES)
    for store in (house.grants, house.chats):
        store.fails = True
        await watch.sweep(house.broker)
        store.fails = False
    assert not one.closed
    assert set(one.connection.session.subscriptions) == {MESSAGES}


# ---- nothing of a session is touched by who has not proved that it is theirs


@pytest.mark.parametrize("username", ["user1", "user3"])
async def test_a_stranger_with_somebodys_client_id_changes_nothing(house: House, username: str) -> None:
    one = await house.client("user1", clean=False, properties=STAYS)
    await one.subscribe(MESSAGES)
    password = b"wrong" if username == "user1" else b"pw"
    socket, answer = await house.dial("user1", username=username, password=password)
    assert reason_of(answer) in (0x85, 0x86)
    assert socket.closed
    assert not one.closed
    assert set(one.connection.session.subscriptions) == {MESSAGES}


async def test_a_disconnected_packet_is_the_last(house: House) -> None:
    one = await house.client("user1")
    answers = await one.send(Publish(f"chats/{CHAT}/+/user1", b"x"))
    assert isinstance(answers[-1], Disconnect)
    assert answers[-1].reason == 0x90
    assert one.closed
