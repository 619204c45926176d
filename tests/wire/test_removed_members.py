"""A member who is removed while messages come, on real sockets: what is written to theirs ends where the removal was heard (P5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker import watch
from broker.tcp import serve_tcp
from chat.envelopes import Invalidation
from mqtt.codec import Decoder
from mqtt.packets import Packet, Publish
from stack.ports import free_port
from tests.corpus import connect, packet, text
from tests.unit.broker.conftest import CHAT, BuildHouse, House
from tests.unit.broker.conftest import build as build  # noqa: PLC0414 - a fixture of the other folder
from tests.wire.conftest import PATIENCE

MESSAGES = f"chats/{CHAT}/messages"
LOGIN = text("pw")


class Peer:
    """A 3.1.1 client that is nothing but a socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._decoder = Decoder(version=4)
        self._came: list[Packet] = []

    @classmethod
    async def dial(cls, port: int, user: str) -> Peer:
        peer = cls(*await asyncio.open_connection("127.0.0.1", port))
        peer.send(connect(user, level=4, flags=0xC2, rest=text(user) + LOGIN))
        await peer.packet()
        return peer

    def send(self, wire: bytes) -> None:
        self._writer.write(wire)

    def publish(self, number: int) -> None:
        self.send(packet(0x32, text(MESSAGES) + number.to_bytes(2, "big") + f"{number}: 안녕하세요".encode()))

    async def packet(self) -> Packet:
        async with asyncio.timeout(PATIENCE):
            while not self._came:
                data = await self._reader.read(65_536)
                assert data, "the broker closed the connection"
                self._came += self._decoder.feed(data)
        return self._came.pop(0)

    async def until_pong(self) -> list[str]:
        """The payloads that come before the answer to a ping, acknowledged."""
        self.send(b"\xc0\x00")
        found: list[str] = []
        while isinstance(answer := await self.packet(), Publish):
            found.append(answer.payload.decode())
            self.send(b"\x40\x02" + answer.packet_id.to_bytes(2, "big"))
        return found

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def house(build: BuildHouse) -> House:
    made = build()
    await made.join("user1")
    await made.join("user2")
    return made


@pytest.fixture
async def port(house: House) -> AsyncIterator[int]:
    number = free_port()
    server = await serve_tcp(house.broker, "127.0.0.1", number)
    yield number
    server.close()
    house.broker.drain()


@pytest.mark.parametrize("expelled", [True, False])
async def test_between_the_news_and_the_answer_nothing_is_written(house: House, port: int, expelled: bool) -> None:
    bridge, one, two = [await Peer.dial(port, name) for name in ("svc-bridge", "user1", "user2")]
    for peer in (one, two):
        peer.send(packet(0x82, b"\0\x09" + text(MESSAGES) + b"\x01"))
        await peer.packet()
    for number in (1, 2):
        bridge.publish(number)
        await bridge.packet()
    assert await one.until_pong() == await two.until_pong() == ["1: 안녕하세요", "2: 안녕하세요"]
    if expelled:
        await house.expel("user1")
    house.chats.gate = answer = asyncio.Event()
    watch.apply(house.broker, Invalidation(kind="member", chat=CHAT, user="user1"))
    for number in (3, 4):
        bridge.publish(number)
        await bridge.packet()
    rest = ["3: 안녕하세요", "4: 안녕하세요"]
    assert await two.until_pong() == rest
    assert await one.until_pong() == []
    answer.set()
    house.chats.gate = None
    bridge.publish(5)
    await bridge.packet()
    assert await two.until_pong() == ["5: 안녕하세요"]
    assert await one.until_pong() == ([] if expelled else [*rest, "5: 안녕하세요"])
    for peer in (bridge, one, two):
        peer.close()
