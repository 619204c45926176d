"""chat.pushes.PushProgress, in memory and on a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters import valkey
from adapters.memory.push_progress import MemoryPushProgress
from chat.ids import new_message_id
from chat.pushes import PushProgress


@pytest.fixture(params=["memory", "valkey"])
async def progress(request: pytest.FixtureRequest) -> AsyncIterator[PushProgress]:
    if request.param == "memory":
        yield MemoryPushProgress()
        return
    client = valkey.connect(request.getfixturevalue("valkey_url"))
    yield valkey.ValkeyPushProgress(client)
    await client.aclose()


@pytest.fixture
def event() -> str:
    return new_message_id()


async def test_one_at_a_time(progress: PushProgress, event: str) -> None:
    lease = await progress.acquire(event, seconds=60)
    assert lease is not None
    assert await progress.acquire(event, seconds=60) is None
    await progress.release(event, lease)
    assert await progress.acquire(event, seconds=60) is not None


async def test_a_lease_runs_out(progress: PushProgress, event: str) -> None:
    first = await progress.acquire(event, seconds=0.05)
    assert first is not None
    await asyncio.sleep(0.1)
    second = await progress.acquire(event, seconds=60)
    assert second is not None
    # The one who was too slow can't take the lease from the one who has it now.
    await progress.release(event, first)
    await progress.hold(event, first, seconds=0.01)
    await asyncio.sleep(0.05)
    assert await progress.acquire(event, seconds=60) is None


async def test_a_hold_keeps_everybody_away(progress: PushProgress, event: str) -> None:
    lease = await progress.acquire(event, seconds=60)
    assert lease is not None
    await progress.hold(event, lease, seconds=0.2)
    assert await progress.acquire(event, seconds=60) is None
    assert await progress.claim([event], seconds=60) == []
    await asyncio.sleep(0.3)
    assert await progress.acquire(event, seconds=60) is not None


async def test_tokens_that_are_done_are_remembered(progress: PushProgress, event: str) -> None:
    assert await progress.sent(event, ["t1", "t2"]) == set()
    assert await progress.sent(event, []) == set()
    await progress.add_sent(event, "t1")
    await progress.add_sent(event, "t1")
    assert await progress.sent(event, ["t1", "t2"]) == {"t1"}
    assert await progress.sent(new_message_id(), ["t1"]) == set()


async def test_the_sweeper_claims_what_is_free_once(progress: PushProgress, event: str) -> None:
    busy, other = new_message_id(), new_message_id()
    await progress.acquire(busy, seconds=60)
    assert await progress.claim([event, busy, other], seconds=0.2) == [event, other]
    assert await progress.claim([event, busy, other], seconds=0.2) == []
    assert await progress.claim([], seconds=0.2) == []
    await asyncio.sleep(0.3)
    assert await progress.claim([event], seconds=60) == [event]


async def test_a_job_that_starts_ends_the_claim(progress: PushProgress, event: str) -> None:
    assert await progress.claim([event], seconds=60) == [event]
    assert await progress.acquire(event, seconds=0.1) is not None
    assert await progress.claim([event], seconds=60) == []
    # The job was killed: its lease runs out, and the next sweep finds the event.
    await asyncio.sleep(0.2)
    assert await progress.claim([event], seconds=60) == [event]


async def test_valkey_holds_no_token(valkey_url: str, event: str) -> None:
    client = valkey.connect(valkey_url)
    await valkey.ValkeyPushProgress(client).add_sent(event, "a-secret-token")
    assert await client.sismember(f"push:{event}:sent", "a-secret-token") == 0
    assert await client.scard(f"push:{event}:sent") == 1
    assert await client.ttl(f"push:{event}:sent") > 0
    await client.aclose()
