"""chat.ports.Presence, in memory and on a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from adapters import valkey
from adapters.memory.presence import MemoryPresence
from chat.errors import Unavailable
from chat.ports import Presence

LIFETIME = 0.3


@pytest.fixture(params=["memory", "valkey"])
async def presence(request: pytest.FixtureRequest) -> AsyncIterator[Presence]:
    if request.param == "memory":
        yield MemoryPresence(lifetime=LIFETIME)
        return
    client = valkey.connect(request.getfixturevalue("valkey_url"))
    await client.flushdb()
    yield valkey.ValkeyPresence(client, lifetime_ms=int(LIFETIME * 1000))
    await client.aclose()


async def test_nobody_is_online_at_first(presence: Presence) -> None:
    assert await presence.online(["user1"]) == set()
    assert await presence.online([]) == set()


async def test_replace_swaps_the_whole_table(presence: Presence) -> None:
    await presence.replace("b1", {"user1": 1, "user2": 2, "nobody": 0})
    assert await presence.online(["user1", "user2", "user3", "nobody"]) == {"user1", "user2"}
    await presence.replace("b1", {"user3": 1})
    assert await presence.online(["user1", "user2", "user3"]) == {"user3"}
    await presence.replace("b1", {})
    assert await presence.online(["user1", "user2", "user3"]) == set()


async def test_replace_takes_more_than_one_command_holds(presence: Presence) -> None:
    everybody = {f"user{number}": 1 for number in range(2_500)}
    await presence.replace("b1", everybody)
    assert await presence.online([*everybody, "stranger"]) == set(everybody)


async def test_update_sets_and_takes_out(presence: Presence) -> None:
    await presence.replace("b1", {"user1": 1})
    await presence.update("b1", {"user1": 0, "user2": 1})
    assert await presence.online(["user1", "user2"]) == {"user2"}
    await presence.update("b1", {})
    assert await presence.online(["user2"]) == {"user2"}


async def test_a_principal_is_online_while_any_broker_holds_it(presence: Presence) -> None:
    await presence.replace("b1", {"user1": 1})
    await presence.replace("b2", {"user1": 1})
    await presence.update("b1", {"user1": 0})
    assert await presence.online(["user1"]) == {"user1"}
    await presence.update("b2", {"user1": 0})
    assert await presence.online(["user1"]) == set()


async def test_a_broker_that_stops_beating_takes_its_table_along(presence: Presence) -> None:
    await presence.replace("b1", {"user1": 1})
    await presence.replace("b2", {"user2": 1})
    for _ in range(4):
        await asyncio.sleep(LIFETIME / 2)
        assert await presence.heartbeat("b2") is True
    assert await presence.online(["user1", "user2"]) == {"user2"}
    # Read once more: the dead one has been cleaned away, the living one has not.
    assert await presence.online(["user1", "user2"]) == {"user2"}


async def test_a_heartbeat_tells_when_the_table_is_not_whole(presence: Presence) -> None:
    assert await presence.heartbeat("b1") is False
    # Changes on top of a table that was lost count, but do not make it whole.
    await presence.update("b1", {"user1": 1})
    assert await presence.online(["user1"]) == {"user1"}
    assert await presence.heartbeat("b1") is False
    await presence.replace("b1", {"user1": 1})
    assert await presence.heartbeat("b1") is True


async def test_an_empty_table_is_whole(presence: Presence) -> None:
    await presence.replace("b1", {})
    assert await presence.heartbeat("b1") is True


async def test_valkey_that_is_gone_is_unavailable(free_port: Callable[[], int]) -> None:
    client = valkey.connect(f"redis://127.0.0.1:{free_port()}/0")
    gone = valkey.ValkeyPresence(client)
    for call in (gone.replace("b", {"u1": 1}), gone.update("b", {"u1": 1}), gone.heartbeat("b"), gone.online(["u1"])):
        with pytest.raises(Unavailable):
            await call
    await client.aclose()


async def test_dead_brokers_leave_the_set(valkey_url: str) -> None:
    client = valkey.connect(valkey_url)
    await client.flushdb()
    presence = valkey.ValkeyPresence(client, lifetime_ms=1)
    await presence.replace("b1", {"user1": 1})
    assert await client.smembers("presence:brokers") == {"b1"}
    await asyncio.sleep(0.05)
    assert await presence.online(["user1"]) == set()
    assert await client.smembers("presence:brokers") == set()
    await client.aclose()
