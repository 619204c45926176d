"""chat.pushes.PushProgress, in memory and on a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from adapters import valkey
from adapters.memory.push_progress import MemoryPushProgress
from chat.ids import new_chat_id, new_message_id
from chat.pushes import Pushed, PushProgress, of_token, of_user


@pytest.fixture(params=["memory", "valkey"])
async def progress(request: pytest.FixtureRequest) -> AsyncIterator[PushProgress]:
    if request.param == "memory":
        yield MemoryPushProgress()
        return
    client = valkey.connect(request.getfixturevalue("valkey_url"))
    yield valkey.ValkeyPushProgress(client)
    await client.aclose()


@pytest.fixture
def chat() -> str:
    return new_chat_id()


AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
TOKEN, OTHER, USER = of_token("a-secret-token"), of_token("another"), of_user("user1")


async def test_one_at_a_time(progress: PushProgress, chat: str) -> None:
    other = new_chat_id()
    (ours, busy) = await progress.acquire([chat], seconds=60)
    assert (set(ours), busy) == ({chat}, {})
    both = await progress.acquire([chat, other], seconds=60)
    assert (set(both.ours), both.busy) == ({other}, {chat: 0.0})
    await progress.release(ours)
    assert set((await progress.acquire([chat, other], seconds=60)).ours) == {chat}
    assert await progress.acquire([], seconds=60) == ({}, {})


async def test_a_lease_runs_out(progress: PushProgress, chat: str) -> None:
    first = (await progress.acquire([chat], seconds=0.05)).ours
    await asyncio.sleep(0.1)
    assert chat in (await progress.acquire([chat], seconds=60)).ours
    # The one who was too slow can't take the lease from the one who has it now.
    await progress.release(first)
    await progress.release(first, hold=0.01)
    await asyncio.sleep(0.05)
    assert (await progress.acquire([chat], seconds=60)).busy == {chat: 0.0}


async def test_a_hold_keeps_everybody_away_and_says_how_long(progress: PushProgress, chat: str) -> None:
    leases = (await progress.acquire([chat], seconds=60)).ours
    await progress.release(leases, hold=0.3)
    found = await progress.acquire([chat], seconds=60)
    assert found.ours == {}
    assert 0 < found.busy[chat] <= 0.3
    await asyncio.sleep(0.4)
    assert chat in (await progress.acquire([chat], seconds=60)).ours


async def test_what_was_pushed_is_remembered(progress: PushProgress, chat: str) -> None:
    other = new_chat_id()
    assert await progress.pushed({chat: [TOKEN, OTHER], other: []}) == {}
    pushed, newer = Pushed(7, AT), Pushed(8, AT)
    await progress.note({(chat, TOKEN): pushed, (chat, USER): pushed, (other, OTHER): newer})
    await progress.note({})
    assert await progress.pushed({chat: [TOKEN, OTHER, USER], other: [TOKEN, OTHER]}) == {
        (chat, TOKEN): pushed,
        (chat, USER): pushed,
        (other, OTHER): newer,
    }
    await progress.forget(chat, [USER, OTHER])
    await progress.forget(chat, [])
    assert await progress.pushed({chat: [TOKEN, USER]}) == {(chat, TOKEN): pushed}


async def test_a_newer_event_is_not_forgotten_for_an_older_one(progress: PushProgress, chat: str) -> None:
    for seq in (12, 9, 10):
        await progress.note({(chat, TOKEN): Pushed(seq, AT)})
    assert await progress.pushed({chat: [TOKEN]}) == {(chat, TOKEN): Pushed(12, AT)}


async def test_the_sweeper_claims_what_is_free_once(progress: PushProgress) -> None:
    event, busy, other = (new_message_id() for _ in range(3))
    await progress.postpone([busy], seconds=60)
    assert await progress.claim([event, busy, other], seconds=0.2) == [event, other]
    assert await progress.claim([event, busy, other], seconds=0.2) == []
    assert await progress.claim([], seconds=0.2) == []
    await asyncio.sleep(0.3)
    assert await progress.claim([event], seconds=60) == [event]


async def test_what_is_postponed_is_free_afterwards_whatever_was_claimed(progress: PushProgress) -> None:
    event = new_message_id()
    await progress.claim([event], seconds=60)
    await progress.postpone([event], seconds=0.1)
    await progress.postpone([], seconds=0.1)
    assert await progress.claim([event], seconds=60) == []
    await asyncio.sleep(0.2)
    assert await progress.claim([event], seconds=60) == [event]


async def test_valkey_holds_no_token_and_forgets_in_time(valkey_url: str, chat: str) -> None:
    client = valkey.connect(valkey_url)
    await valkey.ValkeyPushProgress(client).note({(chat, TOKEN): Pushed(7, AT)})
    assert "a-secret-token" not in repr(await client.hgetall(f"push:{chat}:pushed"))
    assert await client.hlen(f"push:{chat}:pushed") == 1
    assert 0 < await client.ttl(f"push:{chat}:pushed") <= 86_400
    await client.aclose()
