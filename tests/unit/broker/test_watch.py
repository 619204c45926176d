"""Who listens for invalidations sweeps whenever some may have been missed, and regularly whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from adapters.memory.invalidations import MemoryInvalidations
from broker import watch
from chat.envelopes import Invalidation
from mqtt.packets import Will
from tests.unit.broker.conftest import AT, CHAT, House

MESSAGES = f"chats/{CHAT}/messages"


async def test_what_is_told_is_applied_and_what_may_have_been_missed_is_looked_up(house: House) -> None:
    one, two = await house.client("user1"), await house.client("user2", password=b"pw:s2")
    await one.subscribe(MESSAGES)
    await house.sign_in("user2", "s2")
    invalidations = MemoryInvalidations()
    task = asyncio.ensure_future(watch.listen(house.broker, invalidations))
    await house.rest()
    assert not two.closed
    await house.expel("user1")
    await invalidations.publish(Invalidation(kind="member", chat=CHAT, user="user1"))
    await house.rest()
    assert not one.connection.session.subscriptions
    await house.stores.grants.revoke("s2", AT)
    await house.rest()
    assert not two.closed
    invalidations.reconnect()
    await house.rest()
    assert two.closed
    task.cancel()


@pytest.mark.parametrize("hearing", [True, False])
async def test_a_broker_that_hears_nothing_sweeps_more_often(house: House, hearing: bool) -> None:
    one = await house.client("user1")
    await one.subscribe(MESSAGES)
    await house.expel("user1")
    house.chats.fails = True  # the first sweeps can't tell, and the loop goes on
    task = asyncio.ensure_future(
        watch.sweep_regularly(house.broker, seconds=3600, blind_seconds=0.0, hearing=lambda: hearing)
    )
    await house.rest()
    assert one.connection.session.subscriptions
    house.chats.fails = False
    await house.rest()
    assert bool(one.connection.session.subscriptions) is hearing
    assert not task.done()
    task.cancel()


async def test_a_will_that_can_not_be_checked_when_it_is_due_is_not_published(house: House) -> None:
    watcher = await house.client("user2")
    await watcher.subscribe(f"chats/{CHAT}/typing/+")
    one = await house.client("user1", will=Will(f"chats/{CHAT}/typing/user1", b"will"))
    house.chats.fails = True
    one.vanish()
    assert await watcher.payloads() == []
    assert house.broker.core.stats.refused["will_not_authorized"] == 1
