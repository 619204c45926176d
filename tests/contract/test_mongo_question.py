"""A question by the bare command: it is asked again when the connection breaks under it, and never has half of an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from adapters.mongo import connect, stores_of
from adapters.mongo.client import BATCH, question
from chat.errors import Unavailable
from chat.models import Grant, User

NOW = datetime.now(UTC)


class Relay:
    """Between us and MongoDB: breaks the connection under as many questions as it is told."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self.breaks = 0
        self.tasks: list[asyncio.Task[None]] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection(*self._to)
        back = asyncio.create_task(self._pass_on(there, writer))
        self.tasks.append(back)
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if b"aggregate" in data and self.breaks:
                    self.breaks -= 1
                    break
                to.write(data)
                await to.drain()
        back.cancel()
        to.close()
        writer.close()

    async def _pass_on(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await there.read(65_536):
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def relayed(mongo_url: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay, and the URL through it."""
    where = urlsplit(mongo_url)
    relay = Relay(where.hostname or "127.0.0.1", where.port or 27017)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    try:
        yield relay, f"mongodb://127.0.0.1:{server.sockets[0].getsockname()[1]}/?directConnection=true"
    finally:
        server.close()
        for task in relay.tasks:
            task.cancel()
        await asyncio.gather(*relay.tasks, return_exceptions=True)


async def test_a_broken_connection_is_no_answer_and_the_question_is_asked_again(
    mongo_url: str, mongo_database: str
) -> None:
    straight = stores_of(connect(mongo_url, mongo_database))
    await straight.users.add(User("haneul", "김하늘", "-", NOW))
    await straight.grants.add(Grant("s1", "haneul", "t1", NOW, NOW + timedelta(days=1)))
    await straight.close()
    async with relayed(mongo_url) as (relay, url):
        stores = stores_of(connect(url, mongo_database))
        relay.breaks = 1
        assert await stores.sign_ins.holding([("s1", "haneul")]) == {("s1", "haneul")}
        assert relay.breaks == 0
        relay.breaks = 2
        with pytest.raises(Unavailable):
            await stores.sign_ins.holding([("s1", "haneul")])
        await stores.close()


async def test_an_answer_that_does_not_fit_is_an_error(mongo_url: str, mongo_database: str) -> None:
    db = connect(mongo_url, mongo_database)
    await db["things"].insert_many([{"_id": number} for number in range(BATCH + 1)])
    assert len(await question(db, "things", [{"$limit": BATCH - 1}])) == BATCH - 1
    with pytest.raises(RuntimeError, match="longer answer"):
        await question(db, "things", [])
    await db.client.close()
