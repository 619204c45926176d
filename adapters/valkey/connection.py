"""The connection pool of a process, and the one place that turns the client's errors into ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat.errors import Unavailable

Valkey = Redis
"""The client that the adapters of this package take; made by `connect`, closed by `await client.aclose()`."""

MAX_CONNECTIONS = 32
"""Commands beyond them wait in line, at most `TIMEOUT` seconds: one process never holds more sockets."""

TIMEOUT = 2.0
"""Seconds for a connect, an answer, or a turn in the pool. Valkey answers in a millisecond or is not well."""

HEALTH_SECONDS = 1.0


def connect(url: str) -> Valkey:
    """A client on a bounded pool; it connects with its first command.

    One retry without a pause: after a restart of the server the pool is full of dead sockets, and the first command on each
    finds out. The commands used here may be repeated.

    Args:
        url: `redis://[[user]:password@]host:port/db`, `rediss://…` for TLS, or `unix://…`.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 1),
        decode_responses=True,
        encoding_errors="replace",  # somebody's stray bytes on a channel must not end the listener
    )
    return Redis.from_pool(pool)


async def healthy(client: Valkey) -> bool:
    """Whether Valkey answers within a second; never raises: who asks for health has no patience."""
    try:
        with unavailable("answer"):
            async with asyncio.timeout(HEALTH_SECONDS):  # a ping of one that is frozen would be tried again
                await client.ping()
    except Unavailable:
        return False
    return True


@contextmanager
def unavailable(doing: str) -> Iterator[None]:
    """Raise `Unavailable` for whatever goes wrong between us and Valkey.

    Args:
        doing: for the reason: "Valkey did not …".
    """
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise Unavailable(f"Valkey did not {doing}: {type(error).__name__}") from error
