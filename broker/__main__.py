"""`python -m broker`: run until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import AbstractAsyncContextManager

import structlog
import uvloop
from pydantic import ValidationError

from adapters.logging import configure
from broker.app import NotLoopback, chat_broker, check_loopback, open_broker
from broker.broker import Broker
from broker.settings import BrokerSettings, LimitSettings, address
from chat.errors import Unavailable

log = structlog.get_logger("broker")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m broker",
        description="An MQTT 3.1.1 and 5.0 broker. Settings are environment variables with the prefix PABAL_ "
        "(see broker/settings.py and broker/limits.py); the options below override them.",
    )
    made.add_argument("--bind", action="append", metavar="HOST:PORT", help="MQTT over TCP (repeatable)")
    made.add_argument(
        "--bind-ws", action="append", metavar="HOST:PORT", help="MQTT over WebSocket, path /mqtt (repeatable)"
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
        settings, limits = BrokerSettings(), LimitSettings().limits()
        binds = options.bind or ([settings.broker_tcp] if settings.broker_tcp and not options.bind_ws else [])
        for bind in (*binds, *(options.bind_ws or [])):
            address(bind)
            if options.open:
                check_loopback(bind)
    except (ValidationError, NotLoopback, ValueError) as error:
        sys.stderr.write(f"broker: {error}\n")
        return 2
    configure(settings.log_level, settings.log_format, "broker")
    if options.open:
        context = open_broker(binds, options.bind_ws or [], options.deny, limits)
    else:
        if options.bind:
            settings.broker_tcp = options.bind[0]
        if options.bind_ws:
            settings.broker_ws = options.bind_ws[0]
        context = chat_broker(settings, limits)
    try:
        uvloop.run(_until_signal(context))
    except (OSError, Unavailable, ExceptionGroup) as error:
        log.error("broker.failed", error=_reason(error))  # noqa: TRY400 - the reason is what the operator needs
        return 1
    return 0


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reason(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


async def _until_signal(context: AbstractAsyncContextManager[Broker]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with context:
        await stop.wait()
        log.info("broker.stopping")


if __name__ == "__main__":
    sys.exit(main())
