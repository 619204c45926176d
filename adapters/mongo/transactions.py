"""Several documents changed together: all of it or nothing, whoever is killed in the middle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pymongo
from pymongo.asynchronous.client_session import AsyncClientSession

from adapters.mongo.client import OPERATION_MS, Database

T = TypeVar("T")


async def transact(db: Database, work: Callable[[AsyncClientSession], Awaitable[T]]) -> T:
    """Run `work` as one transaction, again from its beginning whenever another one has changed the same documents meanwhile.

    What `work` raises undoes everything that it has written, and is passed on.

    Args:
        work: may be called more than once; every operation in it names the session that it is given.
    """
    # Without this bound the driver would repeat a transaction that meets conflicts for two minutes.
    with pymongo.timeout(OPERATION_MS / 1000):
        async with db.client.start_session() as session:
            return await session.with_transaction(work)
