"""What all clients together leave unread is bounded: those with the most are cut, and nobody else (P8)."""

from __future__ import annotations

import itertools

import pytest

from mqtt.packets import Disconnect, Properties, PubAck, Publish, Will
from tests.unit.broker.conftest import CHAT, BuildHouse, House, Socket

MIB = 1024 * 1024
STAYS: Properties = {"session_expiry_interval": 3600}
MESSAGES = f"chats/{CHAT}/messages"


@pytest.fixture
async def house(build: BuildHouse) -> House:
    made = build(write_buffer_total=4 * MIB, max_packet=MIB)
    for user in ("user1", "user2", "user3"):
        await made.join(user)
    return made


async def write(house: House, bridge: Socket, size: int) -> None:
    """A message of so many bytes goes to everybody in the chat."""
    bridge.put(Publish(MESSAGES, bytes(size), 1, packet_id=1))
    await house.rest()


async def test_those_with_the_most_unread_are_cut_until_the_rest_fits(house: House) -> None:
    bridge = await house.bridge()
    sockets = [await house.client(user) for user in ("user1", "user2", "user3")]
    for socket in sockets:
        assert await socket.subscribe(MESSAGES) == [1]
    for socket, unsent in zip(sockets, (2 * MIB, 3 * MIB, 1 * MIB), strict=True):
        socket.unsent = unsent
    await write(house, bridge, 500_000)
    assert [socket.closed for socket in sockets] == [False, True, False]
    assert house.broker.core.stats.dropped["slow_consumer_cut"] == 1
    assert house.broker.core.unsent.total() == 3 * MIB
    assert not any(isinstance(packet, Disconnect) for packet in await sockets[1].take())


async def test_as_long_as_it_fits_nobody_is(house: House) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES)
    one.unsent = 4 * MIB
    for _ in range(10):
        await write(house, bridge, 500_000)
    assert not one.closed


async def test_it_is_looked_at_once_in_a_quarter_of_the_limit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge, one = await house.bridge(), await house.client("user1")
    await one.subscribe(MESSAGES)
    looks: list[int] = []
    look = house.broker.core.unsent.look
    monkeypatch.setattr(
        house.broker.core.unsent, "look", lambda: (looks.append(house.broker.core.stats.bytes_out), look())
    )
    for _ in range(40):
        await write(house, bridge, 100_000)
    assert 3 <= len(looks) <= 4
    assert all(later - before >= MIB for before, later in itertools.pairwise(looks))


async def test_what_a_client_is_still_owed_after_its_end_counts_too_and_ends_at_once(house: House) -> None:
    bridge, one, two = await house.bridge(), await house.client("user1"), await house.client("user2")
    for socket in (one, two):
        await socket.subscribe(MESSAGES)
    one.unsent = 5 * MIB
    one.put(Disconnect())
    await house.rest()
    assert one.connection in house.broker.core.unsent.leaving
    await write(house, bridge, 600_000)
    await write(house, bridge, 600_000)
    assert one.unsent == 0
    assert not two.closed
    one.connection.lost()
    assert not house.broker.core.unsent.leaving


async def test_who_is_cut_leaves_as_anybody_who_is_lost(house: House) -> None:
    bridge, two = await house.bridge(), await house.client("user2")
    await two.subscribe(f"chats/{CHAT}/typing/+")
    will = Will(f"chats/{CHAT}/typing/user1", "안녕".encode())
    one = await house.client("user1", clean=False, properties=STAYS, will=will)
    await one.subscribe(MESSAGES)
    one.unsent = 5 * MIB
    await write(house, bridge, 600_000)
    await write(house, bridge, 600_000)
    assert one.closed
    assert await two.payloads() == ["안녕".encode()]
    one, again = await house.dial("user1", clean=False, properties=STAYS)
    assert again is not None
    payloads = [packet for packet in await one.take() if isinstance(packet, Publish)]
    assert [len(packet.payload) for packet in payloads] == [600_000, 600_000]
    for packet in payloads:
        one.put(PubAck(packet.packet_id))
