from __future__ import annotations

import pytest

from chat.models import Watermarks
from chat.pushes import PushRejected, PushRetry, PushTokenDead
from tests.unit.workers.pushing import REST, Counted, World


@pytest.fixture
async def pushed(world: World) -> World:
    """user3 has a notification on both screens."""
    await world.fill()
    await world.push(await world.message())
    world.sender.delivered.clear()
    world.sender.attempts.clear()
    return world


async def seen(world: World, seq: int) -> None:
    await world.stores.chats.raise_watermarks([Watermarks("g-1", "user3", seq, seq, seq)])


async def test_what_was_seen_elsewhere_is_taken_from_every_screen_once(pushed: World) -> None:
    counted = Counted()
    await seen(pushed, 1)
    assert await pushed.withdrawals.withdraw("g-1", "user3") == 2
    assert pushed.tokens() == ["user3-android", "user3-web"]
    for push in pushed.sender.delivered:
        assert push.data_only
        assert push.data == {"type": "withdraw", "chat": "g-1", "seq": "1", "badge": "0"}
    assert await pushed.withdrawals.withdraw("g-1", "user3") == 0
    assert counted() == {"withdrawn_sent": 2}


async def test_what_was_not_seen_stays(pushed: World) -> None:
    assert await pushed.withdrawals.withdraw("g-1", "user3") == 0
    await seen(pushed, 1)
    pushed.clock.seconds = REST
    await pushed.push(await pushed.message())
    pushed.sender.delivered.clear()
    assert await pushed.withdrawals.withdraw("g-1", "user3") == 0, "a newer message is on the screen"
    assert pushed.tokens() == []


async def test_who_was_pushed_nothing_has_nothing_to_withdraw(pushed: World) -> None:
    await pushed.stores.chats.raise_watermarks([Watermarks("g-1", "user2", 1, 1, 1)])
    for user in ("user1", "user2", "user9"):
        assert await pushed.withdrawals.withdraw("g-1", user) == 0
    assert pushed.attempts() == []


async def test_a_withdrawal_obeys_the_provider_and_is_tried_once(pushed: World) -> None:
    pushed.sender.program("user3-android", [PushRetry("busy", after=20)])
    pushed.sender.program("user3-web", [PushTokenDead("gone")])
    await seen(pushed, 1)
    assert await pushed.withdrawals.withdraw("g-1", "user3") == 0
    assert await pushed.withdrawals.withdraw("g-1", "user3") == 0
    assert pushed.attempts() == ["user3-android", "user3-web"]
    (left,) = (await pushed.stores.push_tokens.of_users(["user3"]))["user3"]
    assert left.token == "user3-android"
    pushed.clock.seconds = 19
    await pushed.push(await pushed.message())
    assert pushed.attempts().count("user3-android") == 1, "nothing is sent before the time that was named"


async def test_a_rejected_withdrawal_leaves_the_others(pushed: World) -> None:
    pushed.sender.program("user3-android", [PushRejected("no")])
    await seen(pushed, 1)
    assert await pushed.withdrawals.withdraw("g-1", "user3") == 1
    assert pushed.tokens() == ["user3-web"]
