"""Whether Valkey is well: asked of a real one, of none, and of one that takes connections and answers nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from adapters.valkey import connect, healthy


async def test_one_that_answers_is_well(valkey_url: str) -> None:
    client = connect(valkey_url)
    assert await healthy(client)
    await client.aclose()


async def test_none_is_not_well(free_port: Callable[[], int]) -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    assert not await healthy(client)
    await client.aclose()


async def test_one_that_is_frozen_is_asked_once() -> None:
    asked = 0

    def frozen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        del reader
        asked += 1
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(frozen, "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
    assert not await healthy(client)
    assert asked == 1
    await client.aclose()
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()
