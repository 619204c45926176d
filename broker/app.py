"""Composition root: the only place of the broker that constructs adapters."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from adapters.authenticator import PolicyAuthenticator, ServiceSecrets
from adapters.metrics_http import serve as serve_metrics
from adapters.mongo import open_stores
from adapters.tokens import Jwks, TokenVerifier
from adapters.valkey.connection import connect as connect_valkey
from adapters.valkey.invalidations import ValkeyInvalidations
from adapters.valkey.presence import ValkeyPresence
from broker import watch
from broker.broker import TICK, Broker
from broker.chat_policy import ChatPolicy
from broker.limits import Limits
from broker.metrics import registry
from broker.policy import OpenPolicy
from broker.presence_table import PresenceTable
from broker.settings import BrokerSettings, address
from broker.tcp import serve_tcp
from broker.websocket import serve_websocket
from chat.topics import INGEST_FILTERS

log = structlog.get_logger("broker")

DRAIN_SECONDS = 0.3
"""How long the last bytes (a DISCONNECT for each client) have to get out before the process ends."""


class NotLoopback(ValueError):
    """An open broker was to listen where others can reach it."""


@asynccontextmanager
async def chat_broker(settings: BrokerSettings, limits: Limits) -> AsyncIterator[Broker]:
    """A Pabal broker with its listeners, until the context ends."""
    async with AsyncExitStack() as stack:
        stores = await open_stores(settings.mongo_url, settings.mongo_database)
        stack.push_async_callback(stores.close)
        valkey = connect_valkey(settings.valkey_url)
        stack.push_async_callback(valkey.aclose)
        authenticator = PolicyAuthenticator(
            tokens=TokenVerifier(Jwks(settings.jwks_file)),
            grants=stores.grants,
            users=stores.users,
            devices=stores.devices,
            services=ServiceSecrets(settings.services_dir),
        )
        policy = ChatPolicy(authenticator, stores.chats, stores.devices, stores.grants)
        broker = Broker(policy, limits=limits, ingest_filters=INGEST_FILTERS)
        table = PresenceTable(ValkeyPresence(valkey), settings.broker_name, broker.presence.online)
        broker.presence.sink = table
        stack.push_async_callback(table.forget)
        await _background(
            stack,
            _ticking(broker),
            table.run(),
            watch.listen(broker, ValkeyInvalidations(valkey)),
            watch.sweep_regularly(
                broker,
                seconds=settings.broker_sweep_seconds,
                blind_seconds=settings.broker_sweep_blind_seconds,
                hearing=lambda: table.well,
            ),
        )
        tcp = [settings.broker_tcp] if settings.broker_tcp else []
        ws = [settings.broker_ws] if settings.broker_ws else []
        await _listen(stack, broker, tcp, ws, path=settings.broker_ws_path, origins=settings.broker_ws_origins)
        if settings.broker_http:
            server = await serve_metrics(settings.broker_http, registry(broker.core), lambda: {"listening": True})
            stack.push_async_callback(server.close)
        yield broker


@asynccontextmanager
async def open_broker(
    binds: Sequence[str], ws_binds: Sequence[str], denied: Sequence[str], limits: Limits
) -> AsyncIterator[Broker]:
    """A broker that allows everything to everybody on this machine, with nothing behind it.

    Raises:
        NotLoopback: an address that others can reach.
    """
    for bind in (*binds, *ws_binds):
        check_loopback(bind)
    async with AsyncExitStack() as stack:
        broker = Broker(OpenPolicy(denied), limits=limits)
        await _background(stack, _ticking(broker))
        await _listen(stack, broker, binds, ws_binds)
        yield broker


def check_loopback(bind: str) -> None:
    """Refuse any address but loopback.

    Raises:
        NotLoopback: `bind` is no loopback address.
        ValueError: it is no address.
    """
    host, _ = address(bind)
    with contextlib.suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    raise NotLoopback(f"--open lets everybody in, so it listens on loopback addresses only, not on {host}")


async def _listen(
    stack: AsyncExitStack,
    broker: Broker,
    tcp: Sequence[str],
    ws: Sequence[str],
    *,
    path: str = "/mqtt",
    origins: Sequence[str] | None = None,
) -> None:
    servers = [await serve_tcp(broker, *address(bind)) for bind in tcp]
    servers += [await serve_websocket(broker, *address(bind), path=path, origins=origins) for bind in ws]

    async def stop() -> None:
        for server in servers:
            server.close()
        broker.drain()
        await asyncio.sleep(DRAIN_SECONDS)

    stack.push_async_callback(stop)
    log.info("broker.listening", tcp=list(tcp), websocket=list(ws))


async def _ticking(broker: Broker) -> None:
    while True:
        await asyncio.sleep(TICK)
        broker.tick()


async def _background(stack: AsyncExitStack, *work: Coroutine[Any, Any, None]) -> None:
    """Run loops until the context ends; one that fails takes the process with it, so that it is started anew."""
    group = await stack.enter_async_context(asyncio.TaskGroup())
    tasks = [group.create_task(one) for one in work]

    async def cancel() -> None:
        for task in tasks:
            task.cancel()

    stack.push_async_callback(cancel)
