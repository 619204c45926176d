from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.memory import memory_stores
from adapters.memory.presence import MemoryPresence
from adapters.memory.push import MemoryPushSender
from adapters.memory.push_progress import MemoryPushProgress
from chat.envelopes import Body, Event
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Device, Member, PushToken, Role, User, Watermarks
from chat.ports import Push
from chat.pushes import PushRejected, PushRetry, PushTokenDead
from workers.push import deliver
from workers.push.deliver import Ending, Limits, PushDelivery
from workers.push.retry import PushWait
from workers.push.sweep import PushSweep

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GRACE = timedelta(seconds=3)
LIMITS = Limits(lease=60, budget=30, tries=3, longest_pause=60, max_age=timedelta(hours=12), threads=4, grace=GRACE)


class Clock:
    """Seconds that rise when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)


class World:
    """A chat of five, of which user1 writes, user2 is online, and the others have two installations each."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self.clock = Clock()
        self.stores = memory_stores()
        self.presence = MemoryPresence()
        self.progress = MemoryPushProgress(clock=self.clock)
        self.sender = MemoryPushSender()
        self.executor = executor
        self.delivery = self.new_delivery(LIMITS)

    def new_delivery(self, limits: Limits, *, off: bool = False) -> PushDelivery:
        return PushDelivery(
            stores=self.stores,
            presence=self.presence,
            progress=self.progress,
            sender=None if off else self.sender,
            executor=self.executor,
            limits=limits,
            now=self.clock.now,
        )

    async def fill(self, *, title: str | None = "가족", users: int = 5) -> None:
        names = [f"user{number}" for number in range(1, users + 1)]
        chat = Chat(id="g-1", kind=ChatKind.GROUP, created_at=NOW, created_by="user1", title=title)
        members = [
            # user2 is online, and has everything that is sent
            Member(chat="g-1", user=name, role=Role.MEMBER, joined_at=NOW, delivered_seq=1000 if name == "user2" else 0)
            for name in names
        ]
        await self.stores.chats.create(chat, members)
        await self.stores.users.add(User(id="user1", display_name="김철수", password_hash="", created_at=NOW))
        for name in names:
            for platform in ("android", "web"):
                token = PushToken(token=f"{name}-{platform}", user=name, platform=platform, updated_at=NOW)
                await self.stores.push_tokens.put(token)
        await self.presence.replace("b1", {"user2": 1})

    async def message(self, **changes: Any) -> str:
        head = await self.stores.messages.head("g-1")
        fields: dict[str, Any] = {
            "type": "message",
            "id": new_message_id(),
            "chat": "g-1",
            "seq": head.seq + 1,
            "n": head.n + 1,
            "sender": "user1",
            "at": NOW,
            "body": Body(text="안녕하세요"),
        }
        event = Event(**(fields | changes))
        await self.stores.messages.insert([event], push=frozenset({event.id}))
        return event.id

    async def marked(self, message_id: str) -> bool:
        return await self.stores.messages.push_claim(message_id) is not None

    def tokens(self) -> list[str]:
        return sorted(push.token.token for push in self.sender.delivered)

    def attempts(self) -> list[str]:
        return sorted(push.token.token for push in self.sender.attempts)


AWAY = ["user3-android", "user3-web", "user4-android", "user4-web", "user5-android", "user5-web"]


@pytest.fixture
def world() -> Iterator[World]:
    with ThreadPoolExecutor(4) as executor:
        yield World(executor)


async def test_everybody_who_is_away_on_every_installation(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    assert await world.delivery.push(message_id, tries=1) is Ending.DONE
    assert world.tokens() == AWAY
    assert not await world.marked(message_id)
    assert {push.title for push in world.sender.delivered} == {"가족"}
    assert {push.text for push in world.sender.delivered} == {"안녕하세요"}


async def test_a_second_job_for_the_same_event_does_nothing(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    await world.delivery.push(message_id, tries=1)
    assert await world.delivery.push(message_id, tries=1) is Ending.GONE
    assert await world.delivery.push(new_message_id(), tries=1) is Ending.GONE
    assert world.attempts() == AWAY


async def test_two_jobs_at_the_same_time_send_once(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    endings = await asyncio.gather(*(world.delivery.push(message_id, tries=1) for _ in range(3)))
    assert sorted(endings) == [Ending.BUSY, Ending.BUSY, Ending.DONE]
    assert world.attempts() == AWAY


async def test_those_who_have_it_already_get_none(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    await world.stores.chats.raise_watermarks(
        [Watermarks(chat="g-1", user="user3", delivered_seq=1, seen_seq=0, seen_n=0)]
    )
    await world.delivery.push(message_id, tries=1)
    assert world.tokens() == AWAY[2:]


async def test_large_chats_are_worked_through_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliver, "PAGE", 7)
    await world.fill(users=40)
    message_id = await world.message()
    await world.delivery.push(message_id, tries=1)
    assert len(world.tokens()) == len(set(world.tokens())) == 38 * 2


@pytest.mark.parametrize(
    ("sender", "title"), [("user1", "김철수"), ("dev-thermo", "온도계"), ("user9", "user9"), ("dev-none", "dev-none")]
)
async def test_without_a_title_the_sender_is_named(world: World, sender: str, title: str) -> None:
    await world.fill(title=None)
    device = Device(id="dev-thermo", owner="user1", name="온도계", secret_hash="", created_at=NOW)
    await world.stores.devices.add(device)
    message_id = await world.message(sender=sender)
    await world.delivery.push(message_id, tries=1)
    assert {push.title for push in world.sender.delivered} == {title}


@pytest.mark.parametrize("changes", [{"type": "reaction", "target": new_message_id()}, {"deleted_at": NOW}])
async def test_pointless_pushes_lose_their_mark(world: World, changes: dict[str, Any]) -> None:
    await world.fill()
    message_id = await world.message(**changes)
    assert await world.delivery.push(message_id, tries=1) is Ending.SKIPPED
    assert world.attempts() == []
    assert not await world.marked(message_id)


async def test_pushes_that_are_off_lose_their_mark(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    assert await world.new_delivery(LIMITS, off=True).push(message_id, tries=1) is Ending.SKIPPED
    assert not await world.marked(message_id)


async def test_a_retry_sends_only_what_was_not_sent(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRetry("busy", after=20)])
    world.sender.program("user4-web", [PushRetry("busy")])
    with pytest.raises(PushRetry) as raised:
        await world.delivery.push(message_id, tries=1)
    assert raised.value.after is not None
    assert raised.value.after >= 20
    assert await world.marked(message_id)
    # Nobody sends before the time that the provider asked for: neither a copy of the job nor the sweeper.
    world.clock.seconds = 19.9
    assert await world.delivery.push(message_id, tries=2) is Ending.BUSY
    assert await world.progress.claim([message_id], seconds=1) == []
    world.clock.seconds = raised.value.after
    assert await world.delivery.push(message_id, tries=2) is Ending.DONE
    assert world.tokens() == AWAY
    assert world.attempts() == sorted([*AWAY, "user3-web", "user4-web"])


async def test_dead_tokens_are_forgotten(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushTokenDead("gone")])
    assert await world.delivery.push(message_id, tries=1) is Ending.DONE
    assert [token.token for token in (await world.stores.push_tokens.of_users(["user3"]))["user3"]] == ["user3-android"]
    assert len(world.tokens()) == 5


async def test_a_rejected_push_is_parked_and_its_neighbours_pass(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRejected("FCM answered 403 SENDER_ID_MISMATCH")])
    assert await world.delivery.push(message_id, tries=1) is Ending.DONE
    assert len(world.tokens()) == 5
    (letter,) = await world.stores.dead_letters.page()
    assert letter.id.startswith(f"push:{message_id}:")
    assert letter.topic == "chats/g-1/messages"
    assert letter.reason == "FCM answered 403 SENDER_ID_MISMATCH"
    assert json.loads(letter.payload) == {"message_id": message_id, "user": "user3"}
    assert "user3-web" not in repr(letter)


async def test_after_the_last_try_the_event_is_parked(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.sender.program("user3-web", [PushRetry("FCM answered 503")] * 3)
    for tries in (1, 2):
        with pytest.raises(PushRetry):
            await world.delivery.push(message_id, tries=tries)
        world.clock.seconds += 100
    assert await world.delivery.push(message_id, tries=3) is Ending.PARKED
    assert not await world.marked(message_id)
    (letter,) = await world.stores.dead_letters.page()
    assert letter.id == f"push:{message_id}"
    assert "503" in letter.reason
    assert letter.tries == 3
    assert world.attempts().count("user3-web") == 3
    assert world.attempts().count("user3-android") == 1


async def test_an_event_that_is_too_old_is_parked(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    world.clock.seconds = 13 * 3600
    assert await world.delivery.push(message_id, tries=1) is Ending.PARKED
    assert world.attempts() == []
    assert not await world.marked(message_id)
    assert len(await world.stores.dead_letters.page()) == 1


async def test_a_poison_event_is_tried_and_parked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.fill()
    message_id, other = await world.message(), await world.message()

    def explode(push: Push) -> None:
        if push.data["id"] == message_id:
            raise ZeroDivisionError("the text must not be here")

    monkeypatch.setattr(world.sender, "send", explode)
    for tries in (1, 2):
        with pytest.raises(PushRetry, match="ZeroDivisionError"):
            await world.delivery.push(message_id, tries=tries)
        world.clock.seconds += 100
    assert await world.delivery.push(message_id, tries=3) is Ending.PARKED
    (letter,) = await world.stores.dead_letters.page()
    assert letter.reason == "a fault of ours: ZeroDivisionError"
    assert await world.delivery.push(other, tries=1) is Ending.DONE


async def test_an_outage_of_a_store_gives_the_lease_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.fill()
    message_id = await world.message()

    async def away(_users: object) -> set[str]:
        raise Unavailable("Valkey is away")

    monkeypatch.setattr(world.presence, "online", away)
    with pytest.raises(Unavailable):
        await world.delivery.push(message_id, tries=99)
    monkeypatch.undo()
    assert await world.marked(message_id)
    assert await world.delivery.push(message_id, tries=1) is Ending.DONE


async def test_a_job_without_time_comes_back_for_the_rest(world: World) -> None:
    await world.fill()
    message_id = await world.message()
    hasty = Limits(lease=60, budget=-1, tries=3, longest_pause=60, max_age=LIMITS.max_age, threads=4, grace=GRACE)
    with pytest.raises(PushRetry, match="time was up"):
        await world.new_delivery(hasty).push(message_id, tries=1)
    assert await world.marked(message_id)


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
    await world.delivery.push(message_id, tries=1)
    world.clock.seconds = 1_000
    assert await sweep.lost() == []


async def test_who_looks_connected_but_does_not_acknowledge_is_pushed_after_the_grace(world: World) -> None:
    """A phone that has just lost its network still looks connected: nobody would ever tell it of the message."""
    await world.fill()
    await world.presence.replace("b1", {"user2": 1, "user3": 1})
    message_id = await world.message()
    with pytest.raises(PushWait) as wait:
        await world.delivery.push(message_id, tries=1)
    assert wait.value.after == GRACE.total_seconds()
    assert world.tokens() == [token for token in AWAY if not token.startswith("user3")]
    assert await world.marked(message_id), "the mark stays until everybody has it or was told"

    world.clock.seconds += GRACE.total_seconds()
    world.sender.delivered.clear()
    assert await world.delivery.push(message_id, tries=2) is Ending.DONE
    assert world.tokens() == ["user3-android", "user3-web"]
    assert not await world.marked(message_id)


async def test_who_acknowledges_within_the_grace_is_not_pushed(world: World) -> None:
    await world.fill()
    await world.presence.replace("b1", {"user2": 1, "user3": 1})
    message_id = await world.message()
    with pytest.raises(PushWait):
        await world.delivery.push(message_id, tries=1)
    await world.stores.chats.raise_watermarks([Watermarks("g-1", "user3", 1, 0, 0)])
    world.clock.seconds += GRACE.total_seconds()
    assert await world.delivery.push(message_id, tries=2) is Ending.DONE
    assert world.tokens() == [token for token in AWAY if not token.startswith("user3")]
