"""Who has seen on one device what is on the screen of another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from adapters.memory.jobs import MemoryJobQueue
from adapters.memory.push_progress import MemoryPushProgress
from bridge import withdrawals
from bridge.metrics import Metrics
from bridge.withdrawals import SeenElsewhere
from chat.errors import Unavailable
from chat.jobs import PUSH_EVENT, PUSH_WITHDRAW
from chat.pushes import Pushed, of_user

AT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def shown(progress: MemoryPushProgress, chat: str, user: str, seq: int) -> None:
    await progress.note({(chat, of_user(user)): Pushed(seq, AT)})


async def test_only_who_has_it_on_a_screen_gets_a_job(registry: CollectorRegistry) -> None:
    progress, jobs = MemoryPushProgress(), MemoryJobQueue()
    seen = SeenElsewhere(progress, jobs, Metrics(registry))
    await shown(progress, "c1", "user1", 5)
    await shown(progress, "c1", "user2", 7)
    await shown(progress, "c2", "user3", 1)
    seen.add([(("c1", "user1"), 5), (("c1", "user2"), 6), (("c1", "user3"), 9), (("c2", "user1"), 9)])
    seen.add([(("c2", "user3"), 1)])
    await seen.flush()
    assert [(job.name, job.args) for job in jobs.jobs] == [
        (PUSH_WITHDRAW, ("c1", "user1")),
        (PUSH_WITHDRAW, ("c2", "user3")),
    ]
    await seen.flush()
    assert len(jobs.jobs) == 2


async def test_what_waits_is_bounded_and_what_is_dropped_counted(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(withdrawals, "MAX_WAITING", 2)
    progress, jobs = MemoryPushProgress(), MemoryJobQueue()
    seen = SeenElsewhere(progress, jobs, Metrics(registry))
    for user in ("user1", "user2", "user3"):
        await shown(progress, "c1", user, 5)
    seen.add((("c1", user), seq) for user, seq in (("user1", 1), ("user2", 5), ("user3", 5), ("user1", 5)))
    await seen.flush()
    assert [job.args for job in jobs.jobs] == [("c1", "user1"), ("c1", "user2")]
    assert registry.get_sample_value("pabal_bridge_withdrawals_dropped_total") == 1


async def test_a_valkey_that_is_away_holds_nothing_up(registry: CollectorRegistry) -> None:
    progress, jobs = MemoryPushProgress(), MemoryJobQueue()

    async def away(_wanted: object) -> None:
        raise Unavailable("Valkey is away")

    progress.pushed = away  # type: ignore[method-assign,assignment]
    seen = SeenElsewhere(progress, jobs, Metrics(registry))
    seen.add([(("c1", "user1"), 5)])
    await seen.flush()
    assert list(jobs.jobs) == []


async def test_the_bridge_tells_who_has_seen_what_others_wrote(world: Any) -> None:
    await world.send("c2", "user2", "user3 is away")
    await shown(world.progress, "c2", "user3", 1)
    await shown(world.progress, "c2", "user2", 1)
    assert (await world.publish("chats/c2/ack/user3", {"seen": 1})).reason_code == 0
    await world.bridge.seen_elsewhere.flush()
    # user2 has seen their own message by writing it: that is no reason to ask anybody.
    assert [(job.name, job.args) for job in world.jobs.jobs if job.name != PUSH_EVENT] == [
        (PUSH_WITHDRAW, ("c2", "user3"))
    ]


async def test_the_first_push_job_goes_at_once_and_the_next_are_shared(world: Any) -> None:
    for number in range(20):
        await world.send("c2", "user2", str(number))
        if number == 0:
            assert len(world.jobs.jobs) == 1, "nobody waits for others"
    await world.bridge.pushes.flush()
    sent = [job.args for job in world.jobs.jobs if job.name == PUSH_EVENT]
    assert sorted(id_ for args in sent for id_ in args) == sorted(event.id for event in await world.history("c2"))
    assert len(sent) < 20


async def test_what_has_gathered_goes_by_itself(world: Any) -> None:
    await world.send("c2", "user2", "1")
    await world.send("c2", "user2", "2")
    async with asyncio.timeout(30):
        while sum(len(job.args) for job in world.jobs.jobs) < 2:
            await asyncio.sleep(0.01)
