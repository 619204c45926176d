"""Closed connections go by themselves: the garbage collector runs rarely, so nothing may wait for it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from broker.broker import Broker
from broker.limits import DEFAULTS
from broker.policy import OpenPolicy
from broker.tcp import serve_tcp
from mqtt.codec import V5, Decoder, encode
from mqtt.packets import Connect, Filter, Subscribe


@pytest.fixture
def kept_garbage() -> Iterator[None]:
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def visit(port: int, number: int) -> None:
    """Connect, subscribe, go without a word."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    decoder = Decoder(version=V5)
    for packet in (Connect(f"visitor-{number}"), Subscribe(1, [Filter("chats/+/messages", 1)])):
        writer.write(encode(packet, V5))
        while not decoder.feed(await reader.read(1000)):
            pass
    writer.close()
    await writer.wait_closed()


@pytest.mark.usefixtures("kept_garbage")
async def test_a_closed_connection_leaves_nothing_to_the_collector() -> None:
    broker = Broker(OpenPolicy(), limits=DEFAULTS)
    server = await serve_tcp(broker, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for number in range(3):
        await visit(port, number)
    while broker.core.open:
        await asyncio.sleep(0.01)
    server.close()
    gc.collect()
    ours = [each for each in gc.garbage if type(each).__module__.split(".")[0] in {"broker", "mqtt"}]
    assert ours == []
