"""chat.ports.RateLimiter, in memory and on a real Valkey."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from adapters import valkey
from adapters.memory.ratelimit import MemoryRateLimiter
from chat.errors import Unavailable
from chat.ports import RateLimiter


@pytest.fixture(params=["memory", "valkey"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        yield MemoryRateLimiter()
        return
    client = valkey.connect(request.getfixturevalue("valkey_url"))
    await client.flushdb()
    yield valkey.ValkeyRateLimiter(client)
    await client.aclose()


async def test_a_burst_is_granted_and_then_refused(limiter: RateLimiter) -> None:
    granted = [await limiter.take("user1", rate=0.1, burst=5) for _ in range(5)]
    assert granted == [0.0] * 5
    wait = await limiter.take("user1", rate=0.1, burst=5)
    assert 8.0 < wait <= 10.0  # one token at 0.1 a second


async def test_buckets_are_separate(limiter: RateLimiter) -> None:
    assert await limiter.take("user1", rate=0.1, burst=1) == 0.0
    assert await limiter.take("user1", rate=0.1, burst=1) > 0.0
    assert await limiter.take("user2", rate=0.1, burst=1) == 0.0


async def test_what_was_refused_took_nothing(limiter: RateLimiter) -> None:
    assert await limiter.take("user1", rate=0.1, burst=10, cost=6) == 0.0
    assert await limiter.take("user1", rate=0.1, burst=10, cost=6) > 0.0
    assert await limiter.take("user1", rate=0.1, burst=10, cost=4) == 0.0


async def test_the_bucket_fills_again(limiter: RateLimiter) -> None:
    while (wait := await limiter.take("user1", rate=20, burst=3)) == 0.0:
        pass
    await asyncio.sleep(wait + 0.02)
    assert await limiter.take("user1", rate=20, burst=3) == 0.0


async def test_more_than_the_burst_is_never_granted(limiter: RateLimiter) -> None:
    assert await limiter.take("user1", rate=1, burst=3, cost=4) == math.inf
    assert await limiter.take("user1", rate=1, burst=3, cost=3) == 0.0


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"burst": 0.0}, {"cost": -1.0}])
async def test_nonsense_is_refused(limiter: RateLimiter, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        await limiter.take("user1", **({"rate": 1.0, "burst": 1.0} | wrong))


async def test_takers_at_the_same_time_share_one_bucket(limiter: RateLimiter) -> None:
    waits = await asyncio.gather(*(limiter.take("user1", rate=0.001, burst=10) for _ in range(40)))
    assert waits.count(0.0) == 10


async def test_a_full_bucket_leaves_nothing_behind(valkey_url: str) -> None:
    client = valkey.connect(valkey_url)
    await client.flushdb()
    await valkey.ValkeyRateLimiter(client).take("user1", rate=50, burst=1)
    assert 0 < await client.pttl("rate:user1") <= 25
    await asyncio.sleep(0.05)
    assert await client.keys("*") == []
    await client.aclose()


async def test_valkey_that_is_gone_is_unavailable(free_port: Callable[[], int]) -> None:
    client = valkey.connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable):
        await valkey.ValkeyRateLimiter(client).take("user1", rate=1, burst=1)
    await client.aclose()


async def test_memory_forgets_the_oldest_bucket() -> None:
    limiter = MemoryRateLimiter(max_buckets=2)
    for key in ("one", "two", "three"):
        assert await limiter.take(key, rate=0.001, burst=1) == 0.0
    assert await limiter.take("three", rate=0.001, burst=1) > 0.0
    assert await limiter.take("one", rate=0.001, burst=1) == 0.0


async def test_what_was_spent_elsewhere_is_missing_here(limiter: RateLimiter) -> None:
    """Two bridges charge what they let pass: each learns of the other's part, down to a bounded debt."""
    rate, burst = 0.001, 10.0
    assert await limiter.spend({"user1": 4.0, "user2": 1.0}, rate=rate, burst=burst) == pytest.approx(
        {"user1": 6.0, "user2": 9.0}, abs=0.01
    )
    assert await limiter.spend({"user1": 5.0}, rate=rate, burst=burst) == pytest.approx({"user1": 1.0}, abs=0.01)
    assert await limiter.spend({"user1": 3.0}, rate=rate, burst=burst) == pytest.approx({"user1": -2.0}, abs=0.01)
    assert await limiter.take("user1", rate=rate, burst=burst) > 0.0
    assert await limiter.spend({"user1": 500.0}, rate=rate, burst=burst) == pytest.approx({"user1": -10.0}, abs=0.01)
    many = {f"many{number}": 1.0 for number in range(1_200)}
    left = await limiter.spend(many, rate=rate, burst=burst)
    assert set(left) == set(many)
    assert set(map(round, left.values())) == {9}


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"burst": 0.0}, {"costs": {"user1": 0.0}}])
async def test_no_nonsense_is_spent(limiter: RateLimiter, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        await limiter.spend(**({"costs": {"user1": 1.0}, "rate": 1.0, "burst": 1.0} | wrong))


async def test_valkey_that_is_gone_charges_nothing(free_port: Callable[[], int]) -> None:
    client = valkey.connect(f"redis://127.0.0.1:{free_port()}/0")
    with pytest.raises(Unavailable):
        await valkey.ValkeyRateLimiter(client).spend({"user1": 1.0}, rate=1, burst=1)
    await client.aclose()


async def test_a_bucket_that_is_forgotten_is_full(limiter: RateLimiter) -> None:
    for user in ("user1", "user2"):
        assert await limiter.take(user, rate=0.1, burst=1) == 0.0
    await limiter.forget("user1")
    await limiter.forget("user3")
    assert await limiter.take("user1", rate=0.1, burst=1) == 0.0
    assert await limiter.take("user2", rate=0.1, burst=1) > 0.0
