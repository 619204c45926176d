"""How many sockets come in, and how fast."""

from __future__ import annotations

from broker.limits import Limits
from tests.unit.broker.conftest import BuildHouse


async def test_a_bucket_per_address_that_fills_again(build: BuildHouse) -> None:
    house = build(address_rate=2.0, address_burst=3)
    admission = house.broker.admission
    assert [admission.admits("192.0.2.1") for _ in range(5)] == [True, True, True, False, False]
    assert admission.admits("192.0.2.2")
    house.clock.now += 1.0
    assert [admission.admits("192.0.2.1") for _ in range(3)] == [True, True, False]
    house.clock.now += 100.0
    assert [admission.admits("192.0.2.1") for _ in range(4)] == [True, True, True, False]
    assert house.broker.core.stats.connects["address_rate"] == 4


async def test_no_rate_no_limit(build: BuildHouse) -> None:
    admission = build(address_rate=0.0, address_burst=1).broker.admission
    assert all(admission.admits("192.0.2.1") for _ in range(100))


async def test_handshakes_count_and_new_limits_hold_at_once(build: BuildHouse) -> None:
    house = build(connections=2)
    admission = house.broker.admission
    admission.shaking = 2
    assert not admission.admits("192.0.2.1")
    house.broker.core.limits = Limits(connections=3)
    assert admission.admits("192.0.2.1")
    assert house.broker.core.stats.connects["too_many"] == 1
