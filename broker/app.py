"""Composition root: the only place of the broker that constructs adapters (with `chat_services.py`)."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from prometheus_client.registry import Collector

from adapters.metrics_http import serve as serve_metrics
from adapters.settings_view import visible
from adapters.sqlite.sessions import SqliteSessions
from adapters.tracing import open_tracer
from broker import loop_lag, watch
from broker.admin import Admin, AdminSecret
from broker.amqtt_plugins import PluginPolicy
from broker.amqtt_receive import ReceiveGate
from broker.broker import TICK, Broker
from broker.durability import Durability
from broker.limits import Limits
from broker.listeners import Listeners, Listening
from broker.metrics import registry
from broker.policy import OpenPolicy
from broker.presence_table import PresenceTable
from broker.restoring import restore
from broker.settings import BrokerSettings, read_limits
from chat.topics import INGEST_FILTERS

log = structlog.get_logger("broker")


class NotLoopback(ValueError):
    """An open broker was to listen where others can reach it."""


@asynccontextmanager
async def chat_broker(settings: BrokerSettings, limits: Limits, listening: Listening) -> AsyncIterator[Broker]:
    """A Pabal broker with its listeners, until the context ends.

    Raises:
        StoreUnusable: what the state directory holds can't be used.
    """
    async with AsyncExitStack() as stack:
        from broker.chat_services import open_services  # noqa: PLC0415 - its drivers take half a second to load

        services = await open_services(stack, settings)
        tracer = open_tracer(settings, "broker")
        if tracer is not None:
            stack.push_async_callback(asyncio.to_thread, tracer.close)
        broker = Broker(
            services.policy,
            limits=limits,
            ingest_filters=INGEST_FILTERS,
            sys_seconds=settings.broker_sys_seconds,
            tracer=tracer,
        )
        table = PresenceTable(services.presence, settings.broker_name, broker.presence.online)
        broker.presence.sink = table
        stack.push_async_callback(table.forget)
        durability = await _durable(stack, broker, settings.broker_state)
        await _background(
            stack,
            _ticking(broker),
            loop_lag.watch(broker.core.stats),
            table.run(),
            watch.listen(broker, services.invalidations),
            watch.sweep_regularly(
                broker,
                seconds=settings.broker_sweep_seconds,
                blind_seconds=settings.broker_sweep_blind_seconds,
                hearing=lambda: table.well,
            ),
        )
        await _listen(stack, broker, listening)
        own = () if tracer is None else (tracer.counter,)
        await _serve_http(stack, broker, settings, durability, own)
        yield broker


@asynccontextmanager
async def open_broker(
    settings: BrokerSettings, limits: Limits, listening: Listening, denied: Sequence[str]
) -> AsyncIterator[Broker]:
    """A broker that allows everything to everybody on this machine, with nothing behind it but its state, if any.

    Raises:
        NotLoopback: an address that others can reach.
        StoreUnusable: what the state directory holds can't be used.
    """
    for host, _ in listening.addresses.all:
        check_loopback(host)
    async with AsyncExitStack() as stack:
        broker = Broker(OpenPolicy(denied), limits=limits)
        await _durable(stack, broker, settings.broker_state)
        await _background(stack, _ticking(broker), loop_lag.watch(broker.core.stats))
        await _listen(stack, broker, listening)
        yield broker


@asynccontextmanager
async def plugin_broker(settings: BrokerSettings, limits: Limits, listening: Listening) -> AsyncIterator[Broker]:
    """A broker on which amqtt plugins decide, with nothing else behind it.

    Raises:
        PluginProblem: the plugins can't be used as they are configured.
        StoreUnusable: what the state directory holds can't be used.
    """
    async with AsyncExitStack() as stack:
        plugins = [(plugin.name, plugin.config) for plugin in settings.broker_amqtt_plugins]
        policy = await PluginPolicy.load(plugins)
        stack.push_async_callback(policy.close)
        broker = Broker(policy, limits=limits, sys_seconds=settings.broker_sys_seconds)
        if policy.has_topic_plugins:
            broker.router.gate = ReceiveGate(policy, broker.core, broker.spawn)
        durability = await _durable(stack, broker, settings.broker_state)
        await _background(
            stack,
            _ticking(broker),
            loop_lag.watch(broker.core.stats),
            _asking_again(broker, policy, settings.broker_sweep_seconds),
        )
        await _listen(stack, broker, listening)
        await _serve_http(stack, broker, settings, durability)
        yield broker


async def _durable(stack: AsyncExitStack, broker: Broker, directory: Path | None) -> Durability | None:
    """Bring back what an earlier process left in the state directory, and keep it there from now on."""
    if directory is None:
        log.warning("sessions.in_memory", hint="a restart forgets sessions: set PABAL_BROKER_STATE or --state")
        return None
    store = SqliteSessions(directory)
    stack.callback(store.close)
    durability = Durability(broker.core, store)
    await restore(broker, store, durability.journal)
    stack.push_async_callback(durability.close)
    return durability


async def _asking_again(broker: Broker, policy: PluginPolicy, seconds: float) -> None:
    """Plugins tell nobody when a right has ended: no answer is kept for longer than this."""
    while True:
        await asyncio.sleep(seconds)
        policy.forget({(session.principal, session.client_id) for session in broker.core.sessions.values()})
        for connection in list(broker.core.connections.values()):
            connection.forget("")


def check_loopback(host: str) -> None:
    """Refuse any address but loopback.

    Raises:
        NotLoopback: `host` is no loopback address.
    """
    with contextlib.suppress(ValueError):
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return
    raise NotLoopback(f"--open lets everybody in, so it listens on loopback addresses only, not on {host}")


async def _listen(stack: AsyncExitStack, broker: Broker, listening: Listening) -> None:
    """Listen until the context ends; SIGHUP reads certificates and limits anew."""
    listeners = Listeners(broker, listening.addresses, listening.certificates)
    await listeners.start()

    async def stop() -> None:
        leaving = listening.leaving
        if not leaving.server_reference:
            listeners.close()
        broker.drain(leaving.server_reference)
        await asyncio.sleep(leaving.seconds)
        listeners.close()

    stack.push_async_callback(stop)

    def reload() -> None:
        listeners.reload()
        _reload_limits(broker, listening.limits_file)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    stack.callback(loop.remove_signal_handler, signal.SIGHUP)


def _reload_limits(broker: Broker, file: Path | None) -> None:
    """Read the limits anew; a broken file changes nothing and is logged."""
    if file is None:
        return
    try:
        broker.core.limits = read_limits(file)
    except ValueError as error:  # pydantic's are of this kind
        log.error("limits.failed", error=str(error))  # noqa: TRY400 - the reason is what the operator needs
    else:
        log.info("limits.reloaded")


async def _serve_http(
    stack: AsyncExitStack,
    broker: Broker,
    settings: BrokerSettings,
    durability: Durability | None,
    metrics: Sequence[Collector] = (),
) -> None:
    """Metrics (with some of other parts), health and, with a secret, the admin interface."""
    if settings.broker_http:
        path = settings.broker_admin_secret_file
        admin = Admin(broker, AdminSecret(path)) if path is not None else None

        def health() -> dict[str, bool]:
            return {"listening": True} | ({"sessions": durability.well} if durability is not None else {})

        shown = registry(broker.core)
        for one in metrics:
            shown.register(one)
        server = await serve_metrics(
            settings.broker_http, shown, health, admin=admin, settings=partial(visible, settings)
        )
        stack.push_async_callback(server.close)


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
