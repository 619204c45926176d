"""`SecondFactorStore`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from adapters.stores import Stores
from chat.models import SecondFactor

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def factor(**fields: Any) -> SecondFactor:
    return SecondFactor(**{"user": "haneul", "sealed": "s1", "created_at": AT, **fields})


async def test_it_counts_when_it_is_confirmed(stores: Stores) -> None:
    factors = stores.second_factors
    assert await factors.get("haneul") is None
    assert not await factors.confirm("haneul", step=1, recovery=[])
    assert await factors.begin(factor())
    assert await factors.begin(factor(sealed="s2"))
    assert not await factors.use_step("haneul", 7)
    assert not await factors.use_recovery("haneul", "r1")
    assert await factors.confirm("haneul", step=7, recovery=["r1", "r2"])
    assert not await factors.confirm("haneul", step=8, recovery=[])
    assert not await factors.begin(factor(sealed="s3"))
    confirmed = factor(sealed="s2", confirmed=True, step=7, recovery=["r1", "r2"])
    assert await factors.get("haneul") == confirmed
    assert await factors.remove("haneul")
    assert not await factors.remove("haneul")
    assert await factors.begin(factor(sealed="s4"))


async def test_what_may_happen_once_happens_once(stores: Stores) -> None:
    factors = stores.second_factors
    await factors.begin(factor())
    await factors.confirm("haneul", step=7, recovery=["r1", "r2"])
    assert sum(await asyncio.gather(*(factors.use_step("haneul", 9) for _ in range(6)))) == 1
    assert not await factors.use_step("haneul", 8)
    assert await factors.use_step("haneul", 10)
    assert sum(await asyncio.gather(*(factors.use_recovery("haneul", "r1") for _ in range(6)))) == 1
    assert not await factors.use_recovery("haneul", "r3")
    found = await factors.get("haneul")
    assert found is not None
    assert (found.step, found.recovery) == (10, ["r2"])
