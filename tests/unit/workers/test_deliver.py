from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from chat.admin import Exclusion, ExclusionKind
from chat.envelopes import Body
from chat.errors import Unavailable
from chat.ids import direct_chat_id, new_message_id
from chat.models import Chat, ChatKind, Device, Member, PushToken, Role, User, Watermarks
from chat.people import Block
from chat.push_preferences import QuietHours, Shows
from chat.pushes import Pushed, PushRejected, PushRetry
from tests.unit.workers.pushing import AWAY, GRACE, NOW, PACE, REST, Counted, World, ended, hasty
from workers.push import deliver
from workers.push.sending import CHUNK
from workers.push.sweep import PushSweep
from workers.push.work import KEPT, Ending


class Killed(BaseException):
    """What no code catches."""


async def test_everybody_who_is_away_on_every_installation(world: World) -> None:
    await world.fill()
    counted = Counted()
    message_id = await world.message()
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert world.tokens() == AWAY
    assert not await world.marked(message_id)
    assert {push.title for push in world.sender.delivered} == {"가족"}
    assert {push.text for push in world.sender.delivered} == {"안녕하세요"}
    assert {push.badge for push in world.sender.delivered} == {1}
    assert counted() == {"sent": 6, "delivered": 1}, "every push has one ending"


async def test_a_second_job_for_the_same_event_does_nothing(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    await world.push(message_id)
    assert ended(await world.push(message_id, new_message_id())) == {Ending.GONE: 2}
    assert world.attempts() == AWAY


async def test_of_jobs_at_the_same_time_one_sends_and_the_others_come_back(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    outcomes = await asyncio.gather(*(world.push(message_id) for _ in range(3)))
    assert sorted(str(ended(outcome)) for outcome in outcomes) == sorted(
        str({ending: 1}) for ending in (Ending.BUSY, Ending.BUSY, Ending.DONE)
    )
    assert [c.message_ids for outcome in outcomes for c in outcome.comebacks] == [(message_id,)] * 2
    assert world.attempts() == AWAY


async def test_those_who_have_it_already_get_none(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    await world.stores.chats.raise_watermarks([Watermarks("g-1", "user3", 1, 0, 0)])
    await world.push(message_id)
    assert world.tokens() == AWAY[2:]


async def test_each_rule_ends_a_push_and_is_counted(world: World) -> None:
    await world.fill(users=9)
    await world.change("user3", muted_until=NOW + timedelta(days=1))
    await world.stores.blocks.put(Block("user4", "user1", NOW))
    await world.wish("user5", quiet=QuietHours("20:00", "23:00", "Asia/Seoul"))
    await world.stores.users.add(User("user6", "", "", NOW))
    await world.stores.admin.block("user6", Exclusion(ExclusionKind.BANNED, NOW, "root", "스팸"))
    for platform in ("android", "web"):
        await world.stores.push_tokens.drop(f"user7-{platform}")
    await world.stores.push_tokens.put(PushToken("user7-toaster", "user7", "toaster", NOW))
    counted = Counted()
    message_id = await world.message()
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert {push.token.user for push in world.sender.delivered} == {"user8", "user9"}
    assert counted() == {"sent": 4, "delivered": 1, "muted": 1, "blocked": 1, "quiet": 1, "suspended": 1, "no_token": 1}
    assert not await world.marked(message_id)


async def test_a_mention_passes_a_mute_where_its_user_wants_that(world: World) -> None:
    await world.fill()
    for user in ("user3", "user4"):
        await world.change(user, muted_until=NOW + timedelta(days=1))
    await world.wish("user4", mentions=False)
    await world.push(await world.message(mentions=["user3", "user4"]))
    assert world.tokens() == ["user3-android", "user3-web", "user5-android", "user5-web"]


async def test_a_screen_shows_what_its_user_allows(world: World) -> None:
    await world.fill()
    await world.wish("user3", shows=Shows.SENDER)
    await world.wish("user4", shows=Shows.NOTHING)
    await world.push(await world.message())
    shown = {push.token.user: (push.title, push.text) for push in world.sender.delivered}
    assert shown == {"user3": ("김철수", None), "user4": ("Pabal", None), "user5": ("가족", "안녕하세요")}


async def test_the_badge_counts_what_is_unread_in_all_chats(world: World) -> None:
    await world.fill()
    other = Chat("g-2", ChatKind.GROUP, NOW, "user1", last_n=7)
    await world.stores.chats.create(other, [Member("g-2", "user3", Role.MEMBER, NOW, seen_n=3)])
    await world.message()
    await world.push(await world.message())
    badges = {push.token.user: push.badge for push in world.sender.delivered}
    assert badges == {"user3": 2 + 4, "user4": 2, "user5": 2}


async def test_large_chats_are_worked_through_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "PAGE", 7)
    await world.fill(users=100)
    message_id = await world.message()
    await world.push(message_id)
    assert len(world.tokens()) == len(set(world.tokens())) == 98 * 2


async def test_chats_of_two_are_pushed_together(world: World) -> None:
    for name in ("user3", "user4", "user5"):
        chat = Chat(direct_chat_id("user1", name), ChatKind.DIRECT, NOW, "user1")
        await world.stores.chats.create(chat, [Member(chat.id, user, Role.OWNER, NOW) for user in ("user1", name)])
        await world.stores.push_tokens.put(PushToken(f"{name}-android", name, "android", NOW))
    chats = [direct_chat_id("user1", name) for name in ("user3", "user4", "user5")]
    ids = [await world.message(chat=chat) for chat in chats]
    assert ended(await world.push(*ids)) == {Ending.DONE: 3}
    assert world.tokens() == ["user3-android", "user4-android", "user5-android"]
    assert sorted(push.collapse_key for push in world.sender.delivered) == sorted(chats)


@pytest.mark.parametrize(
    ("sender", "title"), [("user1", "김철수"), ("dev-thermo", "온도계"), ("user9", "user9"), ("dev-none", "dev-none")]
)
async def test_without_a_title_the_sender_is_named(world: World, sender: str, title: str) -> None:
    await world.fill(title=None)
    device = Device(id="dev-thermo", owner="user1", name="온도계", secret_hash="", created_at=NOW)
    await world.stores.devices.add(device)
    message_id = await world.message(sender=sender)
    await world.push(message_id)
    assert {push.title for push in world.sender.delivered} == {title}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [({"type": "reaction", "target": new_message_id()}, "not_a_message"), ({"deleted_at": NOW}, "deleted")],
)
async def test_pointless_pushes_lose_their_mark(world: World, changes: dict[str, Any], rule: str) -> None:
    await world.fill()
    counted = Counted()
    message_id = await world.message(**changes)
    assert ended(await world.push(message_id)) == {Ending.SKIPPED: 1}
    assert world.attempts() == []
    assert not await world.marked(message_id)
    assert counted() == {rule: 1}


async def test_pushes_that_are_off_lose_their_mark(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    counted = Counted()
    assert ended(await world.new_delivery(off=True).push([message_id])) == {Ending.SKIPPED: 1}
    assert not await world.marked(message_id)
    assert counted() == {"off": 1}


# -- bursts ------------------------------------------------------------------------------------------------------------


async def test_a_burst_of_fifty_is_two_pushes(world: World) -> None:
    await world.fill()
    counted = Counted()
    ids = [await world.message(body=Body(text="1"))]
    await world.push(ids[0])
    for number in range(2, 51):
        world.clock.seconds += 0.02
        ids.append(await world.message(body=Body(text=str(number))))
        outcome = await world.push(ids[-1])
        assert ended(outcome) == {Ending.BUSY: 1}, "the chat rests"
        (comeback,) = outcome.comebacks
        assert world.clock.seconds + comeback.after == pytest.approx(REST)
    world.clock.seconds = REST
    assert ended(await world.push(ids[1])) == {Ending.DONE: 49}
    assert [push.text for push in world.sender.delivered if push.token.token == "user3-web"] == ["1", "50"]
    assert not any([await world.marked(message_id) for message_id in ids])
    assert counted() == {"sent": 12, "delivered": 50, "superseded": 48 * 3}


async def test_a_burst_without_valkey_is_a_push_too_many_and_the_newest_is_never_missed(world: World) -> None:
    await world.fill()
    await world.push(await world.message(body=Body(text="1")))
    last = [await world.message(body=Body(text=text)) for text in ("2", "3")][-1]
    emptied = type(world.progress)(clock=world.clock)
    await world.new_delivery(progress=emptied).push([last])
    assert [push.text for push in world.sender.delivered if push.token.token == "user3-web"] == ["1", "3"]


async def test_what_stands_behind_a_waiting_message_is_pushed_when_that_is_deleted(world: World) -> None:
    await world.fill()
    first, second = await world.message(body=Body(text="하나")), await world.message(body=Body(text="둘"))
    for token in AWAY:
        world.sender.program(token, [PushRetry("busy", after=20)])
    await world.push(first)
    await world.stores.messages.rewrite(second, body=None, edited_at=None, deleted_at=world.clock.now())
    world.clock.seconds = 60
    await world.push(first)
    assert {push.text for push in world.sender.delivered} == {"하나"}
    assert world.tokens() == AWAY
    assert not await world.marked(first)
    assert not await world.marked(second)


async def test_what_keeps_its_mark_behind_a_waiting_message_is_bounded(world: World) -> None:
    await world.fill()
    ids = [await world.message() for _ in range(KEPT + 10)]
    world.sender.program("user3-web", [PushRetry("busy", after=20)])
    outcome = await world.push(*ids)
    assert ended(outcome) == {Ending.DONE: 10, Ending.RETRY: KEPT}
    assert sum([await world.marked(message_id) for message_id in ids]) == KEPT


# -- who looks connected -----------------------------------------------------------------------------------------------


async def test_who_looks_connected_but_does_not_acknowledge_is_pushed_after_the_grace(world: World) -> None:
    """A phone that has just lost its network still looks connected: nobody would ever tell it of the message."""
    await world.fill()
    await world.presence.replace("b1", {"user2": 1, "user3": 1})
    message_id = await world.message()
    outcome = await world.push(message_id)
    assert ended(outcome) == {Ending.WAIT: 1}
    assert outcome.comebacks[0].after == GRACE.total_seconds()
    assert world.tokens() == AWAY[2:]
    assert await world.marked(message_id), "the mark stays until everybody has it or was told"

    world.clock.seconds += GRACE.total_seconds()
    world.sender.delivered.clear()
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert world.tokens() == AWAY[:2]
    assert not await world.marked(message_id)


async def test_who_acknowledges_within_the_grace_is_not_pushed(world: World) -> None:
    await world.fill()
    await world.presence.replace("b1", {"user2": 1, "user3": 1})
    message_id = await world.message()
    counted = Counted()
    await world.push(message_id)
    await world.stores.chats.raise_watermarks([Watermarks("g-1", "user3", 1, 0, 0)])
    # user4 was pushed, and takes a look: that is no second ending.
    await world.stores.chats.raise_watermarks([Watermarks("g-1", "user4", 1, 1, 1)])
    world.clock.seconds += GRACE.total_seconds()
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert world.tokens() == AWAY[2:]
    assert counted() == {"sent": 4, "delivered": 2}


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_an_event_that_is_too_old_is_parked(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.clock.seconds = 13 * 3600
    assert ended(await world.push(message_id)) == {Ending.PARKED: 1}
    assert world.attempts() == []
    assert not await world.marked(message_id)
    assert len(await world.stores.dead_letters.page()) == 1
    # Sent off again it is as young as that.
    assert await world.stores.messages.push_again(message_id, world.clock.now())
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert world.tokens() == AWAY


async def test_what_was_parked_and_is_sent_off_again_goes_to_whom_it_was_parked_for(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRejected("FCM answered 403")])
    await world.push(message_id)
    world.sender.delivered.clear()
    world.clock.seconds = 100
    assert await world.stores.messages.push_again(message_id, world.clock.now())
    (letter,) = await world.stores.dead_letters.page()
    await world.stores.dead_letters.drop(letter.id)
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    assert world.tokens() == ["user3-web"]


async def test_a_poison_chat_is_tried_and_parked_and_its_neighbours_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.fill()
    poison = Chat("g-2", ChatKind.GROUP, NOW, "user1")
    await world.stores.chats.create(poison, [Member("g-2", "user3", Role.MEMBER, NOW)])
    members = world.stores.chats.members

    async def explode(chat: str, **page: Any) -> list[Member]:
        if chat == "g-2":
            raise ZeroDivisionError("the text must not be here")
        return await members(chat, **page)

    monkeypatch.setattr(world.stores.chats, "members", explode)
    bad, good = await world.message(chat="g-2"), await world.message()
    outcome = await world.push(bad, good)
    assert ended(outcome) == {Ending.DONE: 1, Ending.RETRY: 1}
    assert world.tokens() == AWAY
    (comeback,) = outcome.comebacks
    assert (comeback.message_ids, comeback.tries) == ((bad,), 1)
    assert ended(await world.push(bad, tries=3)) == {Ending.PARKED: 1}
    (letter,) = await world.stores.dead_letters.page()
    assert (letter.id, letter.reason) == (f"push:{bad}", "a fault of ours: ZeroDivisionError")
    assert not await world.marked(bad)


async def test_an_outage_of_a_store_gives_the_lease_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.fill()
    message_id = await world.message()

    async def away(_users: object) -> set[str]:
        raise Unavailable("Valkey is away")

    monkeypatch.setattr(world.presence, "online", away)
    with pytest.raises(Unavailable):
        await world.push(message_id, tries=99)
    monkeypatch.undo()
    assert await world.marked(message_id)
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}


async def test_a_job_without_time_comes_back_for_the_rest(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    outcome = await world.new_delivery(hasty(budget=-1)).push([message_id])
    assert ended(outcome) == {Ending.WAIT: 1}
    assert world.attempts() == []
    assert await world.marked(message_id)


async def test_a_kill_in_the_middle_of_a_large_chat_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.fill(users=200)
    message_id = await world.message()
    note, notes = world.progress.note, 0

    async def killed(entries: Mapping[tuple[str, str], Pushed]) -> None:
        nonlocal notes
        notes += 1
        if notes > 2:
            raise Killed
        await note(entries)

    monkeypatch.setattr(world.progress, "note", killed)
    with pytest.raises(Killed):
        await world.push(message_id)
    monkeypatch.undo()
    assert await world.marked(message_id)
    assert len(world.tokens()) == 3 * CHUNK
    assert ended(await world.push(message_id)) == {Ending.DONE: 1}
    tokens = world.tokens()
    assert len(set(tokens)) == 198 * 2, "everybody"
    assert len(tokens) - len(set(tokens)) == CHUNK, "twice only what was not noted yet"


async def test_no_more_than_the_quota(world: World) -> None:
    await world.fill(users=202)
    message_id = await world.message()
    slow = type(PACE)(rate=100, tries=3, longest_pause=60, lease=60)
    delivery = world.new_delivery(hasty(rest=0.0), slow)
    sent = []
    for _ in range(10):
        outcome = await delivery.push([message_id])
        sent.append(len(world.sender.delivered))
        if not outcome.comebacks:
            break
        (comeback,) = outcome.comebacks
        assert ended(outcome) == {Ending.WAIT: 1}
        world.clock.seconds += comeback.after
    assert len(set(world.tokens())) == len(world.tokens()) == 400
    assert sent[0] <= 100
    assert world.clock.seconds >= 3.0, "the first hundred at once, the others at a hundred per second"


async def test_the_sweeper_finds_lost_jobs_once(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    sweep = PushSweep(
        messages=world.stores.messages,
        progress=world.progress,
        age=timedelta(seconds=30),
        claim=300,
        now=world.clock.now,
    )
    world.clock.seconds = 20
    assert await sweep.lost() == []
    world.clock.seconds = 31
    assert await sweep.lost() == [message_id]
    assert await sweep.lost() == []
    # The copy was lost as well.
    world.clock.seconds = 332
    assert await sweep.lost() == [message_id]
    # A job that was killed in the middle is found once its lease has run out.
    await world.progress.postpone([message_id], seconds=60)
    world.clock.seconds = 391
    assert await sweep.lost() == []
    world.clock.seconds = 393
    assert await sweep.lost() == [message_id]
    await world.push(message_id)
    world.clock.seconds = 1_000
    assert await sweep.lost() == []


async def test_the_sweeper_leaves_alone_what_waits_for_its_time(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    sweep = PushSweep(
        messages=world.stores.messages, progress=world.progress, age=timedelta(0), claim=300, now=world.clock.now
    )
    world.sender.program("user3-web", [PushRetry("busy", after=200)])
    await world.push(message_id)
    world.clock.seconds = 199
    assert await sweep.lost() == []
    world.clock.seconds = 260
    assert await sweep.lost() == [message_id], "whoever was to come back has not"


async def test_what_is_put_off_for_long_hides_nothing_behind_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.push.sweep.MAX_FOUND", 2)
    await world.fill()
    ids = [await world.message() for _ in range(5)]
    await world.progress.postpone(ids[:4], seconds=10_000)
    sweep = PushSweep(
        messages=world.stores.messages,
        progress=world.progress,
        age=timedelta(seconds=30),
        claim=300,
        now=world.clock.now,
    )
    world.clock.seconds = 100
    assert await sweep.lost() == [ids[4]]
