"""Keeps decisions true: invalidations as they come, and a sweep for those that did not come (promise P5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from broker.broker import Broker
from broker.policy import Undecided
from chat.envelopes import Invalidation
from chat.ports import Invalidations
from mqtt.reasons import Reason

log = structlog.get_logger("broker")


def apply(broker: Broker, message: Invalidation) -> None:
    """Act on one invalidation: what falls, falls now."""
    if message.kind == "member" and message.user is not None:
        broker.forget(message.user, message.chat or "")
    elif message.kind == "grant" and message.sid is not None:
        broker.disconnect(grants={message.sid}, reason=Reason.NOT_AUTHORIZED)
    elif message.kind == "principal" and message.user is not None:
        broker.disconnect(principal=message.user, reason=Reason.NOT_AUTHORIZED)
        broker.forget(message.user, "")
    elif message.kind == "relation" and message.user is not None:
        broker.forget(message.user, "")


async def listen(broker: Broker, invalidations: Invalidations) -> None:
    """Apply invalidations until cancelled; sweep whenever some may have been missed."""
    async for message in invalidations.listen():
        if message is not None:
            apply(broker, message)
        else:
            await sweep(broker)


async def sweep_regularly(broker: Broker, *, seconds: float, blind_seconds: float, hearing: Callable[[], bool]) -> None:
    """Sweep until cancelled.

    Args:
        broker: whose decisions to check.
        seconds: between two sweeps.
        blind_seconds: between two sweeps while invalidations can't be heard.
        hearing: whether they can.
    """
    waited = 0.0
    while True:
        await asyncio.sleep(blind_seconds)
        waited += blind_seconds
        if waited >= seconds or not hearing():
            waited = 0.0
            await sweep(broker)


async def sweep(broker: Broker) -> None:
    """One sweep; if the facts can't be had, the next one will tell."""
    try:
        await broker.sweep()
    except Undecided as error:
        log.warning("sweep.undecided", reason=str(error))
