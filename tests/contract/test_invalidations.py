"""chat.ports.Invalidations, in memory and on a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing

import pytest

from adapters import valkey
from adapters.memory.invalidations import MemoryInvalidations
from adapters.valkey.invalidations import CHANNEL
from chat.envelopes import Invalidation
from chat.errors import Unavailable
from chat.ports import Invalidations

MEMBER = Invalidation(kind="member", chat="g-1", user="user1")
GRANT = Invalidation(kind="grant", sid="s1")

Cut = Callable[[], Awaitable[None]]


@pytest.fixture(params=["memory", "valkey"])
async def parts(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Invalidations, Cut]]:
    """The port, and how to cut its listeners' connections."""
    if request.param == "memory":
        memory = MemoryInvalidations()

        async def reconnect() -> None:
            memory.reconnect()

        yield memory, reconnect
        return
    client = valkey.connect(request.getfixturevalue("valkey_url"))

    async def kill() -> None:
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    yield valkey.ValkeyInvalidations(client), kill
    await client.aclose()


async def next_of(listener: AsyncIterator[Invalidation | None]) -> Invalidation | None:
    async with asyncio.timeout(10):
        return await anext(listener)


async def test_a_listener_begins_by_checking_everything(parts: tuple[Invalidations, Cut]) -> None:
    port, _ = parts
    async with aclosing(port.listen()) as listener:
        assert await next_of(listener) is None


async def test_every_listener_gets_every_message_in_order(parts: tuple[Invalidations, Cut]) -> None:
    port, _ = parts
    async with aclosing(port.listen()) as one, aclosing(port.listen()) as other:
        assert await next_of(one) is None
        assert await next_of(other) is None
        await port.publish(MEMBER)
        await port.publish(GRANT)
        for listener in (one, other):
            assert await next_of(listener) == MEMBER
            assert await next_of(listener) == GRANT


async def test_a_lost_connection_is_a_none_and_the_stream_goes_on(parts: tuple[Invalidations, Cut]) -> None:
    port, cut = parts
    async with aclosing(port.listen()) as listener:
        assert await next_of(listener) is None
        await cut()
        assert await next_of(listener) is None
        await port.publish(GRANT)
        assert await next_of(listener) == GRANT


async def test_publishing_to_nobody_is_fine(parts: tuple[Invalidations, Cut]) -> None:
    port, _ = parts
    await port.publish(MEMBER)


async def test_what_cannot_be_read_means_check_everything(valkey_url: str) -> None:
    client = valkey.connect(valkey_url)
    async with aclosing(valkey.ValkeyInvalidations(client).listen()) as listener:
        assert await next_of(listener) is None
        await client.publish(CHANNEL, b'{"kind":"planet"}')
        assert await next_of(listener) is None
        await client.publish(CHANNEL, b"\xff not json")
        assert await next_of(listener) is None
    await client.aclose()


async def test_a_quiet_channel_is_kept_by_pings(valkey_url: str) -> None:
    client = valkey.connect(valkey_url)
    port = valkey.ValkeyInvalidations(client, quiet_seconds=0.05)
    async with aclosing(port.listen()) as listener:
        assert await next_of(listener) is None
        waiting = asyncio.ensure_future(anext(listener))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await port.publish(MEMBER)
        assert await waiting == MEMBER
    await client.aclose()


async def test_a_server_that_falls_silent_is_left(free_port: Callable[[], int]) -> None:
    """Half-open: the server takes the subscription and then says nothing any more, not even to a ping."""
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while data := await reader.read(4096):
            if b"SUBSCRIBE" in data:
                writer.write(b"*3\r\n$9\r\nsubscribe\r\n$16\r\npabal:invalidate\r\n:1\r\n")
            elif b"PING" not in data:
                writer.write(b"+OK\r\n" * data.count(b"*"))
        writer.close()

    port = free_port()
    server = await asyncio.start_server(silent, "127.0.0.1", port)
    client = valkey.connect(f"redis://127.0.0.1:{port}/0?protocol=2")
    async with aclosing(valkey.ValkeyInvalidations(client, quiet_seconds=0.1).listen()) as listener:
        assert await next_of(listener) is None
        assert await next_of(listener) is None
    assert connections >= 2
    await client.aclose()
    server.close()


async def test_valkey_that_is_gone_is_unavailable_for_publishers(free_port: Callable[[], int]) -> None:
    client = valkey.connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable):
        await valkey.ValkeyInvalidations(client).publish(MEMBER)
    await client.aclose()


async def test_memory_turns_a_backlog_into_one_none() -> None:
    port = MemoryInvalidations(backlog=3)
    async with aclosing(port.listen()) as listener:
        assert await next_of(listener) is None
        for _ in range(4):
            await port.publish(MEMBER)
        assert await next_of(listener) is None
        await port.publish(GRANT)
        assert await next_of(listener) == GRANT
