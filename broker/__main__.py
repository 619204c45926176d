"""`python -m broker`: run until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import structlog
import uvloop
from pydantic import ValidationError

from adapters import garbage
from adapters.logging import configure
from adapters.tracing import TracesImpossible
from broker.amqtt_plugins import PluginProblem
from broker.app import NotLoopback, chat_broker, check_loopback, open_broker, plugin_broker
from broker.broker import Broker
from broker.options import add_listeners, listening
from broker.settings import BrokerSettings, read_limits
from chat.errors import Unavailable
from mqtt.store import StoreUnusable

log = structlog.get_logger("broker")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m broker",
        description="An MQTT 3.1.1 and 5.0 broker. Settings are environment variables with the prefix PABAL_ "
        "(see broker/settings.py and broker/limits.py); the options below override them.",
    )
    add_listeners(made)
    made.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="keep persistent sessions, retained messages and wills in this directory, so that they survive the process "
        "(default: PABAL_BROKER_STATE; without one they don't)",
    )
    made.add_argument(
        "--open",
        action="store_true",
        help="no accounts and no rights: everybody may do everything; neither MongoDB nor Valkey is needed. "
        "Loopback addresses only. For tools and test suites",
    )
    made.add_argument(
        "--deny",
        action="append",
        default=[],
        metavar="FILTER",
        help="with --open: subscriptions to this filter are refused",
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the broker; the exit code."""
    options = parser().parse_args(arguments)
    try:
        settings = BrokerSettings()
        if options.state is not None:
            settings.broker_state = options.state
        limits = read_limits(settings.broker_limits_file)
        where = listening(options, settings)
        _check_policy(settings, opened=options.open)
        if options.open:
            for host, _ in where.addresses.all:
                check_loopback(host)
    except (ValidationError, NotLoopback, ValueError) as error:
        sys.stderr.write(f"broker: {error}\n")
        return 2
    configure(settings.log_level, settings.log_format, "broker")
    if options.open:
        context = open_broker(settings, limits, where, options.deny)
    else:
        make = plugin_broker if settings.broker_policy == "amqtt" else chat_broker
        context = make(settings, limits, where)
    try:
        uvloop.run(_until_signal(context))
    except (OSError, Unavailable, PluginProblem, StoreUnusable, TracesImpossible, ExceptionGroup) as error:
        log.error("broker.failed", error=_reason(error))  # noqa: TRY400 - the reason is what the operator needs
        return 1
    return 0


def _check_policy(settings: BrokerSettings, *, opened: bool) -> None:
    """Two settings that say different things are a mistake, and on this one it depends who gets in.

    Raises:
        ValueError: with what contradicts what.
    """
    if opened and settings.broker_policy != "chat":
        raise ValueError(f"--open lets everybody in, PABAL_BROKER_POLICY={settings.broker_policy} does not: choose one")
    if settings.broker_policy == "amqtt" and not settings.broker_amqtt_plugins:
        raise ValueError("PABAL_BROKER_POLICY=amqtt needs plugins: PABAL_BROKER_AMQTT_PLUGINS is empty")
    if settings.broker_policy != "amqtt" and settings.broker_amqtt_plugins:
        raise ValueError("PABAL_BROKER_AMQTT_PLUGINS are only asked with PABAL_BROKER_POLICY=amqtt")


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reason(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


GARBAGE_OBJECTS = 50_000
"""New objects after which Python looks for unreachable ones, a few milliseconds of work. By default it is 700, which a fan-out to
500 makes with every message: measured, 1.5 times as much work in all. Ours go by themselves, but for some of closed connections."""


async def _until_signal(context: AbstractAsyncContextManager[Broker]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with context:
        garbage.rarely(GARBAGE_OBJECTS)
        await stop.wait()
        log.info("broker.stopping")


if __name__ == "__main__":
    sys.exit(main())
