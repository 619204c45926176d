"""The newest page is the same from its copy and from the store, whatever has happened to either: seeded histories of everything that changes a chat."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from adapters.memory.link import MemoryBroker
from adapters.memory.recents import MemoryRecents
from adapters.stores import Stores
from adapters.valkey import ValkeyRecents, connect
from api.claims import Claim
from api.messages.audience import Progresses
from api.messages.schemas import HistoryItem, HistoryPage, HistoryQuery
from api.messages.service import MessageService
from chat.envelopes import Body, Event
from chat.errors import Unavailable
from chat.history import RECENT, Recents
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Grant, Member, Principal, PrincipalKind, Role, User

CHAT = "g-recent"
PEOPLE = ("bada", "haneul")
QUERIES: list[dict[str, object]] = [
    {},
    {"limit": 3},
    {"limit": RECENT},
    {"limit": 5, "type": ["message"]},
    {"limit": 2, "type": ["system", "reaction"]},
]


class NoRecents:
    """A Valkey that is away."""

    async def get(self, chat: str) -> list[Event]:
        raise Unavailable(chat)

    async def put(self, chat: str, events: Sequence[Event]) -> None:
        raise Unavailable(f"{chat} {len(events)}")


class World:
    """A chat that things happen to, the way the bridge does them: the event first, then what it changes."""

    def __init__(self, stores: Stores, recents: Recents, seed: int) -> None:
        self.stores, self.recents, self.rng = stores, recents, random.Random(seed)  # noqa: S311 - the same in each run
        self.seq = 0
        self.at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        self.said: list[Event] = []
        self.old: list[list[Event]] = []
        self.missing: Event | None = None
        self.gone: set[str] = set()

    def next(self, type_: str, **fields: object) -> Event:
        self.seq += 1
        self.at += timedelta(milliseconds=self.rng.choice((1, 1, 700)))
        basis = Event(type_, new_message_id(), CHAT, self.seq, self.seq, self.rng.choice(PEOPLE), self.at)
        return msgspec.structs.replace(basis, **fields)

    async def step(self) -> str:
        what = self.rng.choice(
            [
                "say",
                "say",
                "say",
                "edit",
                "delete",
                "hide",
                "react",
                "reply",
                "pin",
                "own",
                "system",
                "forget",
                "age",
                "hole",
            ]
        )
        await getattr(self, f"do_{what}")()
        return what

    def target(self) -> Event | None:
        """A message that is not deleted: the bridge refuses whatever is done to one that is, but to delete it again."""
        recent = [event for event in self.said[-8:] if event.id not in self.gone]
        return self.rng.choice(recent) if recent else None

    async def do_say(self) -> None:
        over = self.rng.random() < 0.15
        expires = datetime.now(UTC) + timedelta(seconds=-1 if over else 3600)
        event = self.next(
            "message", body=Body(text=f"안녕 {self.seq}"), expires_at=expires if self.rng.random() < 0.4 else None
        )
        self.said.append(event)
        await self.stores.messages.insert([event])

    async def do_edit(self) -> None:
        target = self.target()
        if target is not None:
            edit = self.next("edit", sender=target.sender, target=target.id, body=Body(text=f"고침 {self.seq}"))
            await self.stores.messages.insert([edit])
            if self.rng.random() < 0.8:  # else the bridge was killed in between
                await self.stores.messages.rewrite(target.id, body=edit.body, edited_at=edit.at, deleted_at=None)

    async def do_delete(self) -> None:
        target = self.target()
        if target is not None:
            event = self.next("delete", target=target.id)
            self.gone.add(target.id)
            await self.stores.messages.insert([event])
            if self.rng.random() < 0.8:
                await self.stores.messages.rewrite(target.id, body=None, edited_at=None, deleted_at=event.at)

    async def do_hide(self) -> None:
        target = self.target()
        if target is not None:
            user = self.rng.choice(PEOPLE)
            await self.stores.messages.insert([self.next("hide", sender=user, only=user, target=target.id)])
            await self.stores.messages.hide(target.id, user)

    async def do_pin(self) -> None:
        target = self.target()
        if target is not None:
            event = self.next(self.rng.choice(("pin", "pin", "unpin")), target=target.id)
            await self.stores.messages.insert([event])
            await self.stores.messages.pin(target.id, at=event.at, pinned=event.type == "pin")

    async def do_react(self) -> None:
        target = self.target()
        if target is not None:
            body = Body(emoji=self.rng.choice(("👍", "🎉", "")))
            await self.stores.messages.insert([self.next("reaction", target=target.id, body=body)])

    async def do_reply(self) -> None:
        target = self.target()
        if target is not None:
            event = self.next("message", reply_to=target.id, body=Body(text=f"답 {self.seq}"))
            self.said.append(event)
            await self.stores.messages.insert([event])

    async def do_own(self) -> None:
        event = self.next("message", body=Body(text="혼잣말"))
        event.only = event.sender
        await self.stores.messages.insert([event])

    async def do_system(self) -> None:
        await self.stores.messages.insert([self.next("system", sender="svc-api")])

    async def do_forget(self) -> None:
        """Valkey is emptied."""
        await self.recents.put(CHAT, [])

    async def do_age(self) -> None:
        """A reader that was slow puts an old copy over a newer one."""
        self.old.append(await self.recents.get(CHAT))
        await self.recents.put(CHAT, self.rng.choice(self.old))

    async def do_hole(self) -> None:
        """A slot stays empty below a stored one; the next time it is filled."""
        if self.missing is not None:
            await self.stores.messages.insert([self.missing])
            self.missing = None
            return
        self.missing = self.next("void", sender="svc-bridge")
        await self.do_say()


@pytest.fixture
async def recents(request: pytest.FixtureRequest, stores: Stores) -> AsyncIterator[Recents]:
    """In memory for the stores in memory, else in Valkey."""
    if type(stores.messages).__name__.startswith("Memory"):
        yield MemoryRecents()
        return
    client = connect(request.getfixturevalue("valkey_url"))
    await client.delete(f"recent:{CHAT}")
    yield ValkeyRecents(client, kind=HistoryItem)
    await client.aclose()


async def page(stores: Stores, recents: Recents, user: str, query: dict[str, object]) -> HistoryPage:
    service = MessageService(
        messages=stores.messages,
        chats=stores.chats,
        progresses=Progresses(stores.chats, stores.receipts, named=100),
        recents=recents,
        openings=stores.openings,
        link=MemoryBroker().link(),
        max_send_bytes=1,
        send_timeout=1,
    )
    claim = Claim(Principal(user, PrincipalKind.USER, sid=f"sign-in of {user}"), lambda caller: caller)
    return await service.history(CHAT, HistoryQuery.model_validate(query), claim)


@pytest.fixture(autouse=True)
async def signed_in(stores: Stores) -> None:
    now = datetime.now(UTC)
    for user in PEOPLE:
        await stores.users.add(User(user, user, "-", now))
        await stores.grants.add(Grant(f"sign-in of {user}", user, f"token of {user}", now, now + timedelta(days=1)))


@pytest.mark.parametrize("seed", range(4))
async def test_the_copy_and_the_store_tell_the_same(stores: Stores, recents: Recents, seed: int) -> None:
    members = [Member(CHAT, user, Role.MEMBER, datetime.now(UTC)) for user in PEOPLE]
    await stores.chats.create(Chat(CHAT, ChatKind.GROUP, datetime.now(UTC), "haneul"), members)
    world = World(stores, recents, seed)
    done: list[str] = []
    for _ in range(90):
        done.append(await world.step())
        user, query = world.rng.choice(PEOPLE), world.rng.choice(QUERIES)
        if world.rng.random() < 0.05:
            await stores.chats.clear(CHAT, user, max(0, world.seq - 20))
        cached = await page(stores, recents, user, query)
        asked = await page(stores, NoRecents(), user, query)
        assert msgspec.to_builtins(cached) == msgspec.to_builtins(asked), (seed, done[-5:], user, query)
        everything = await page(stores, NoRecents(), user, {"after": 0, "limit": 200})
        known = {one.id: one for one in everything.items}
        for one in cached.items:
            beside = known[one.id]
            if beside.deleted_at != one.deleted_at:
                continue  # the bridge was killed before it changed the message: the newest page knows from the event
            assert (one.reactions, one.replies, one.hidden) == (beside.reactions, beside.replies, beside.hidden)
            assert one.body is None or not (one.deleted_at or one.hidden), (seed, done[-5:])


async def test_a_copy_of_a_history_that_was_lost_is_not_believed(stores: Stores, recents: Recents) -> None:
    """MongoDB was restored from yesterday's backup, Valkey was not: the same places hold other events."""
    now = datetime.now(UTC).replace(microsecond=0)
    await stores.chats.create(Chat(CHAT, ChatKind.GROUP, now, "haneul"), [Member(CHAT, "haneul", Role.OWNER, now)])
    lost = [
        Event("message", new_message_id(), CHAT, seq, seq, "haneul", now, body=Body(text="잃은 말"))
        for seq in (1, 2, 3)
    ]
    kept = [
        Event("message", new_message_id(), CHAT, seq, seq, "haneul", now, body=Body(text="남은 말"))
        for seq in (1, 2, 3, 4)
    ]
    for stored in (2, 3, 4):
        await stores.messages.insert([kept[stored - 1]] if stored > 2 else kept[:2])
        await recents.put(CHAT, lost)
        found = await page(stores, recents, "haneul", {})
        assert [one.id for one in found.items] == [one.id for one in kept[:stored]]


async def test_what_expires_while_it_is_in_the_copy_is_gone(
    stores: Stores, recents: Recents, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    await stores.chats.create(Chat(CHAT, ChatKind.GROUP, now, "haneul"), [Member(CHAT, "haneul", Role.OWNER, now)])
    event = Event(
        "message",
        new_message_id(),
        CHAT,
        1,
        1,
        "haneul",
        now,
        body=Body(text="비밀"),
        expires_at=now + timedelta(hours=1),
    )
    await stores.messages.insert([event])
    assert (await page(stores, recents, "haneul", {})).items[0].body == event.body
    monkeypatch.setattr("api.messages.reading.now", lambda: now + timedelta(hours=1))
    (item,) = (await page(stores, recents, "haneul", {})).items
    assert (item.body, item.deleted_at, item.expires_at) == (None, event.expires_at, None)


async def test_a_valkey_that_fails_is_left_alone_for_a_while(valkey_url: str) -> None:
    clock = [0.0]
    away = connect("redis://127.0.0.1:1/0")
    recents = ValkeyRecents(away, monotonic=lambda: clock[0])
    with pytest.raises(Unavailable, match="did not"):
        await recents.get(CHAT)
    with pytest.raises(Unavailable, match="a moment ago"):
        await recents.get(CHAT)
    clock[0] = 3.0
    with pytest.raises(Unavailable, match="did not"):
        await recents.put(CHAT, [])
    await away.aclose()
    client = connect(valkey_url)
    await client.set(f"recent:{CHAT}", "not what it was")
    assert await ValkeyRecents(client).get(CHAT) == []
    await client.aclose()
