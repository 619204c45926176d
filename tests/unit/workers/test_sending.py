from __future__ import annotations

import json
from datetime import timedelta

import pytest

from chat.errors import Unavailable
from chat.ids import direct_chat_id
from chat.models import Chat, ChatKind, Member, PushToken, Role
from chat.ports import Push
from chat.pushes import PushRejected, PushRetry, PushTokenDead, of_token
from tests.unit.workers.pushing import AWAY, NOW, Counted, World, ended
from workers.push.work import Ending


async def test_a_retry_sends_only_what_was_not_sent_and_never_too_early(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRetry("busy", after=20)])
    world.sender.program("user4-web", [PushRetry("busy")])
    outcome = await world.push(message_id)
    assert ended(outcome) == {Ending.RETRY: 1}
    assert await world.marked(message_id)
    # Nobody sends before the time that the provider asked for, whatever job it is.
    world.clock.seconds = 19.9
    outcome = await world.push(message_id)
    assert world.attempts() == sorted([*AWAY, "user4-web"])
    (comeback,) = outcome.comebacks
    world.clock.seconds += comeback.after
    assert world.clock.seconds > 20
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert world.tokens() == AWAY
    assert world.attempts() == sorted([*AWAY, "user3-web", "user4-web"])


async def test_the_time_that_a_provider_asks_for_holds_in_every_chat_and_without_valkey(world: World) -> None:
    await world.fill()
    other = Chat("g-2", ChatKind.GROUP, NOW, "user1")
    await world.stores.chats.create(other, [Member("g-2", "user3", Role.MEMBER, NOW)])
    world.sender.program("user3-web", [PushRetry("busy", after=20)])
    await world.push(await world.message())
    world.clock.seconds = 10
    emptied = type(world.progress)(clock=world.clock)
    await world.new_delivery(progress=emptied).push([await world.message(chat="g-2")])
    assert world.attempts().count("user3-android") == 2
    assert world.attempts().count("user3-web") == 1


async def test_the_next_for_a_token_waits_for_the_answer_to_the_one_before(world: World) -> None:
    """Two chats of one job: the second push must not be under way while the provider asks for a pause."""
    for name in ("user2", "user4"):
        chat = Chat(direct_chat_id("user3", name), ChatKind.DIRECT, NOW, "user3")
        await world.stores.chats.create(chat, [Member(chat.id, user, Role.OWNER, NOW) for user in ("user3", name)])
    await world.stores.push_tokens.put(PushToken("user3-web", "user3", "web", NOW))
    world.sender.program("user3-web", [PushRetry("busy", after=20)])
    ids = [await world.message(chat=direct_chat_id("user3", name), sender=name) for name in ("user2", "user4")]
    assert ended(await world.push(*ids)) == {Ending.RETRY: 2}
    assert world.attempts() == ["user3-web"]


async def test_a_token_that_another_process_sends_to_is_left_to_it(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    await world.progress.acquire([of_token("user3-web")], seconds=60)
    assert ended(await world.push(message_id)) == {Ending.WAIT: 1}
    assert "user3-web" not in world.attempts()


async def test_dead_tokens_are_forgotten(world: World) -> None:
    await world.fill()
    counted = Counted()
    message_id = await world.message()
    world.sender.program("user3-web", [PushTokenDead("gone")])
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert [token.token for token in (await world.stores.push_tokens.of_users(["user3"]))["user3"]] == ["user3-android"]
    assert counted() == {"sent": 5, "dead": 1, "delivered": 1}


async def test_a_rejected_push_is_parked_and_its_neighbours_pass(world: World) -> None:
    await world.fill()
    counted = Counted()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRejected("FCM answered 403 SENDER_ID_MISMATCH")])
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert len(world.tokens()) == 5
    (letter,) = await world.stores.dead_letters.page()
    assert letter.id.startswith(f"push:{message_id}:")
    assert letter.topic == "chats/g-1/messages"
    assert letter.reason == "FCM answered 403 SENDER_ID_MISMATCH"
    assert json.loads(letter.payload) == {"message_id": message_id, "user": "user3"}
    assert "user3-web" not in repr(letter)
    assert counted() == {"sent": 5, "parked": 1, "delivered": 1}


async def test_a_rejected_push_is_not_tried_again_while_others_wait(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRejected("FCM answered 400")])
    world.sender.program("user4-web", [PushRetry("busy", after=20)])
    await world.push(message_id)
    world.clock.seconds = 30
    emptied = type(world.progress)(clock=world.clock)
    assert ended(await world.new_delivery(progress=emptied).push([message_id])) == {Ending.DONE: 1}
    assert world.attempts().count("user3-web") == 1
    assert world.attempts().count("user4-web") == 2


async def test_after_the_last_try_a_push_is_parked(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRetry("FCM answered 503")] * 3)
    for _ in range(2):
        assert ended(await world.push(message_id)) == {Ending.RETRY: 1}
        world.clock.seconds += 100
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert not await world.marked(message_id)
    (letter,) = await world.stores.dead_letters.page()
    assert letter.id.startswith(f"push:{message_id}:")
    assert (letter.reason, letter.tries) == ("FCM answered 503", 3)
    assert world.attempts().count("user3-web") == 3
    assert world.attempts().count("user3-android") == 1
    # The next message has its tries anew.
    world.clock.seconds += 100
    assert ended(await world.push(await world.message())) == {Ending.DONE: 1}
    assert world.attempts().count("user3-web") == 4


async def test_parking_a_push_does_not_end_the_pause_that_was_asked_for(world: World) -> None:
    await world.fill()
    world.sender.program("user3-web", [PushRetry("busy"), PushRetry("busy"), PushRetry("busy", after=500)])
    message_id = await world.message()
    for _ in range(3):
        await world.push(message_id)
        world.clock.seconds += 100
    await world.push(await world.message())
    assert world.attempts().count("user3-web") == 3


async def test_success_forgets_the_failures_before_it(world: World) -> None:
    await world.fill()
    for _ in range(3):
        world.sender.program("user3-web", [PushRetry("busy"), PushRetry("busy"), None])
        message_id = await world.message()
        for _ in range(3):
            await world.push(message_id)
            world.clock.seconds += 100
        assert not await world.marked(message_id)
    assert await world.stores.dead_letters.page() == []


async def test_a_poison_push_is_tried_and_parked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.fill()
    message_id = await world.message()
    send = world.sender.send

    def explode(push: Push) -> None:
        if push.token.token == "user3-web":
            raise ZeroDivisionError("the text must not be here")
        send(push)

    monkeypatch.setattr(world.sender, "send", explode)
    for _ in range(2):
        assert ended(await world.push(message_id)) == {Ending.RETRY: 1}
        world.clock.seconds += 100
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    (letter,) = await world.stores.dead_letters.page()
    assert letter.reason == "a fault of ours: ZeroDivisionError"
    assert world.tokens() == [token for token in AWAY if token != "user3-web"]


async def test_an_app_that_makes_its_own_notifications_gets_data(world: World) -> None:
    await world.fill()
    await world.stores.push_tokens.put(PushToken("user3-web", "user3", "web", NOW + timedelta(1), data_only=True))
    await world.push(await world.message())
    (push,) = [push for push in world.sender.delivered if push.token.token == "user3-web"]
    assert push.data_only
    assert push.data["text"] == "안녕하세요"


async def test_nobody_sends_where_the_providers_answer_could_not_be_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRetry("busy", after=20)])

    async def away(_token: str, **_hold: object) -> None:
        raise Unavailable("Mongo is away")

    monkeypatch.setattr(world.stores.push_tokens, "hold", away)
    with pytest.raises(Unavailable):
        await world.push(message_id)
    monkeypatch.undo()
    world.clock.seconds = 10
    assert ended(await world.push(message_id)) == {Ending.WAIT: 1}
    assert world.attempts().count("user3-web") == 1
    assert world.tokens() == [token for token in AWAY if token != "user3-web"], "the others have it, once"
    world.clock.seconds = 70
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
