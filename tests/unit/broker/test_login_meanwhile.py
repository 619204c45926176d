"""What a client sends before its CONNACK: nothing is read of it until it is let in."""

from __future__ import annotations

import asyncio

import pytest

from mqtt.codec import encode
from mqtt.packets import ConnAck, Connect, PingReq, PingResp, Publish, Will
from tests.unit.broker.conftest import CHAT, BuildHouse, House, Socket

TYPING = f"chats/{CHAT}/typing/user1"


async def dialling(house: House, behind: bytes = b"") -> Socket:
    """A client whose login can't go on until the store of chats answers: it is asked about the will."""
    house.chats.gate = asyncio.Event()
    socket = Socket(house, 5)
    connect = Connect("user1", username="user1", password=b"pw", will=Will(TYPING, b"w"))
    socket.connection.data_received(encode(connect, 5) + behind)
    await house.rest()
    return socket


async def let_in(house: House) -> None:
    assert house.chats.gate is not None
    house.chats.gate.set()
    await house.rest()


async def test_reading_pauses_and_what_came_is_kept_as_it_is(build: BuildHouse) -> None:
    house = build(max_connect_packet=2_000, max_packet=100_000)
    await house.join("user1")
    large = encode(Publish(TYPING, b"x" * 50_000, 1, packet_id=1), 5)
    socket = await dialling(house, large[:40_000])
    assert socket.paused
    assert await socket.take() == []
    socket.connection.data_received(large[40_000:] + encode(PingReq(), 5))  # what the transport had in hand
    await let_in(house)
    answers = await socket.take()
    assert [type(answer).__name__ for answer in answers] == ["ConnAck", "PubAck", "PingResp"]
    assert not socket.paused


async def test_noise_behind_the_connect_is_found_when_the_client_is_let_in(house: House) -> None:
    socket = await dialling(house, b"\0\0")
    assert not socket.closed
    await let_in(house)
    connack, disconnect = await socket.take()
    assert isinstance(connack, ConnAck)
    assert disconnect.reason == 0x81  # type: ignore[union-attr]
    assert socket.closed


async def test_a_refused_client_is_not_read(house: House) -> None:
    socket = Socket(house, 5)
    connect = Connect("user1", username="user1", password=b"wrong")
    socket.connection.data_received(encode(connect, 5) + b"\0\0" + encode(PingReq(), 5))
    (answer,) = await socket.take()
    assert isinstance(answer, ConnAck)
    assert answer.reason == 0x86
    assert socket.closed


@pytest.mark.parametrize("size", [18, 19, 40])
async def test_a_client_that_can_not_take_its_connack_is_not_served(house: House, size: int) -> None:
    """[MQTT-3.1.2-24, -25]: the CONNACK of this broker has 19 bytes; without it there is no session."""
    _, answer = await house.dial("user2", properties={"maximum_packet_size": size})
    assert (answer is None) == (size < 19)
    assert ("user2" in house.broker.core.connections) == (size >= 19)
    assert house.broker.presence.online.get("user2", 0) == (size >= 19)


async def test_ping_follows_the_connack(house: House) -> None:
    socket = Socket(house, 5)
    answers = await socket.send(Connect("user1", username="user1", password=b"pw"), PingReq(), PingReq())
    assert [type(answer) for answer in answers] == [ConnAck, PingResp, PingResp]
