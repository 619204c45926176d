"""What ends while a broker is down, or because of it: wills that come due, sessions whose time is over."""

from __future__ import annotations

import pytest

from mqtt.packets import ConnAck, Disconnect, Properties, Will
from mqtt.store import WillRecord
from tests.unit.broker.disk import STAYS, Site, away, back, published, say

LATER: Properties = {"will_delay_interval": 30}


@pytest.fixture
async def site() -> Site:
    made = Site()
    await made.start()
    return made


# ---- wills


@pytest.mark.parametrize(("down", "wait"), [(0, 30), (10_000, 30)])
async def test_the_will_of_a_client_that_was_connected_is_due_after_its_delay(site: Site, down: int, wait: int) -> None:
    """Nobody knows when it went: it counts from the start."""
    await away(site.house, "lee", "끝")
    await site.house.client("kim", properties=STAYS, will=Will("끝", "안녕".encode(), 1, properties=LATER))
    await site.rest()
    house = await site.crash(down=min(down, 3000))
    lee, packets = await back(house, "lee")
    assert packets == []
    site.pass_time(wait - 1)
    assert await lee.take() == []
    site.pass_time(2)
    assert await lee.payloads() == ["안녕".encode()]
    assert site.disk.records.counts()[WillRecord] == 0


async def test_a_will_without_delay_is_published_at_the_start(site: Site) -> None:
    await away(site.house, "lee", "끝")
    await site.house.client("kim", properties=STAYS, will=Will("끝", b"gone", 1))
    await site.rest()
    house = await site.crash()
    await site.rest()
    _, packets = await back(house, "lee")
    assert [packet.payload for packet in published(packets)] == [b"gone"]
    assert site.disk.records.counts()[WillRecord] == 0


async def test_of_a_delay_that_had_begun_the_rest_is_waited_for(site: Site) -> None:
    await away(site.house, "lee", "끝")
    kim = await site.house.client("kim", properties=STAYS, will=Will("끝", b"gone", 1, properties=LATER))
    kim.vanish()
    site.pass_time(10)
    await site.rest()
    house = await site.crash(down=10)
    lee, packets = await back(house, "lee")
    assert packets == []
    site.pass_time(9)
    assert await lee.take() == []
    site.pass_time(2)
    assert await lee.payloads() == [b"gone"]


@pytest.mark.parametrize("how", ["says so", "drained", "comes back without", "comes back in time"])
async def test_a_will_is_void(site: Site, how: str) -> None:
    await away(site.house, "lee", "끝")
    kim = await site.house.client("kim", properties=STAYS, will=Will("끝", b"gone", 1, properties=LATER))
    match how:
        case "says so":
            kim.put(Disconnect())
        case "drained":
            site.house.broker.drain()
        case "comes back without":
            await back(site.house, "kim")
        case _:
            pass
    await site.rest()
    house = await site.crash()
    if how == "comes back in time":
        kim, _ = await back(house, "kim")
        kim.put(Disconnect())
        await site.rest()
    site.pass_time(100)
    _, packets = await back(house, "lee")
    assert packets == []
    assert site.disk.records.counts()[WillRecord] == 0


# ---- how long sessions live


async def test_a_session_expires_while_the_broker_is_down(site: Site) -> None:
    await away(site.house, "kim", "a")
    await say(site.house, "a", b"1")
    site.pass_time(1000)
    house = await site.crash(down=2601)
    site.pass_time(1)
    await site.rest()
    assert house.broker.core.sessions == {}
    assert set(site.disk.records.counts().values()) == {0}


async def test_a_session_expires_after_the_restart_by_the_time_that_was_left(site: Site) -> None:
    await away(site.house, "kim", "a")
    site.pass_time(1000)
    house = await site.crash(down=1000)
    site.pass_time(1590)
    assert "kim" in house.broker.core.sessions
    site.pass_time(11)
    assert "kim" not in house.broker.core.sessions


async def test_who_was_connected_counts_as_gone_since_the_start(site: Site) -> None:
    await site.house.client("kim", properties=STAYS)
    await site.rest()
    house = await site.crash(down=1_000_000)
    await site.rest()
    site.pass_time(3000)
    house = await site.crash()
    site.pass_time(500)
    assert "kim" in house.broker.core.sessions
    site.pass_time(101)
    assert "kim" not in house.broker.core.sessions


@pytest.mark.parametrize("how", ["clean start", "expiry 0 on resume", "expiry 0 in DISCONNECT"])
async def test_what_is_forgotten_stays_forgotten(site: Site, how: str) -> None:
    await away(site.house, "kim", "a")
    await say(site.house, "a", b"1", b"2")
    match how:
        case "clean start":
            await site.house.client("kim", clean=True)
        case "expiry 0 on resume":
            await site.house.client("kim", clean=False)
        case _:
            kim, _ = await back(site.house, "kim")
            kim.put(Disconnect(properties={"session_expiry_interval": 0}))
    await site.rest()
    assert set(site.disk.records.counts().values()) == {0}
    house = await site.crash()
    _, answer = await house.dial("kim", clean=False, properties=STAYS)
    assert isinstance(answer, ConnAck)
    assert not answer.session_present


async def test_a_session_belongs_to_its_owner_also_after_a_restart(site: Site) -> None:
    await away(site.house, "kim", "a")
    house = await site.crash()
    _, answer = await house.dial("kim", username="mallory", clean=False, properties=STAYS)
    assert isinstance(answer, ConnAck)
    assert not answer.session_present
