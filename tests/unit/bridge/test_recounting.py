"""Counts stay right when a slot fails in the middle of a batch (P6): on a database that refuses, beside other bridges, after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.memory.messages import MemoryMessages
from adapters.mongo import open_stores
from adapters.stores import Stores
from bridge.order import Order
from bridge.recounting import counted
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Role, Slot
from chat.ports import Inserted

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def event(seq: int, n: int, type_: str = "message", **fields: Any) -> Event:
    return Event(type_, fields.pop("id", None) or new_message_id(), "c1", seq, n, "user2", NOW, **fields)


def rows(events: Sequence[Event]) -> list[tuple[int, str, int]]:
    return [(one.seq, one.type, one.n) for one in events]


def assert_counted(events: Sequence[Event]) -> None:
    messages = 0
    for place, one in enumerate(events, start=1):
        messages += one.type == "message" and one.only is None
        assert (one.seq, one.n) == (place, messages)


def test_slots_are_counted_from_the_lowest_or_from_nothing() -> None:
    def slots(*ns: tuple[int, int, bool]) -> Mapping[int, Slot]:
        return {seq: Slot(n, "user1", counts) for seq, n, counts in ns}

    assert counted({}) == {}
    assert counted(slots((1, 2, True), (2, 2, False), (3, 4, True))) == slots((1, 1, True), (2, 1, False), (3, 2, True))
    assert counted(slots((8, 5, True), (9, 5, False), (10, 5, True))) == slots(
        (8, 5, True), (9, 5, False), (10, 6, True)
    )


@pytest.fixture
async def picky_stores(mongo_url: str, mongo_database: str) -> AsyncIterator[Stores]:
    """A real database that refuses one text."""
    stores = await open_stores(mongo_url, mongo_database)
    members = [Member("c1", user, Role.MEMBER, NOW) for user in ("user1", "user2")]
    await stores.chats.create(Chat("c1", ChatKind.GROUP, NOW, "user1"), members)
    await stores.messages._messages.database.command(  # type: ignore[attr-defined]
        "collMod", "messages", validator={"body.text": {"$ne": "안 돼"}}
    )
    yield stores
    await stores.close()


async def test_what_the_database_refuses_in_the_middle_of_a_batch_is_not_counted(
    picky_stores: Stores, make_world: Callable[..., Any]
) -> None:
    world = await make_world(picky_stores)
    texts = [f"글 {k}" for k in range(12)]
    texts[3] = texts[7] = "안 돼"
    answers = await asyncio.gather(*(world.send("c1", "user1", text) for text in texts))
    assert [k for k, answer in enumerate(answers) if answer.reason_code] == [3, 7]
    history = await world.history("c1")
    assert [one.body.text for one in history if one.type == "message"] == [text for text in texts if text != "안 돼"]
    assert [one.type for one in history].count("void") >= 1
    assert_counted(history)
    fanned = {one.seq: one.n for one in world.fanned("c1") if one.type == "message"}
    assert fanned == {one.seq: one.n for one in history if one.type == "message"}
    await world.publish("chats/c1/ack/user2", {"seen": 6})
    member = await picky_stores.chats.member("c1", "user2")
    assert (member and member.seen_n) == history[5].n


async def test_what_another_bridge_stored_in_the_middle_counts_as_what_it_is(world: Any) -> None:
    """It takes the slot of a message with a reaction; what stood behind had counted a message there."""

    def intrude(events: Sequence[Event]) -> None:
        if len(events) == 3:
            world.messages.before = lambda _events: None
            assert world.messages._insert(event(2, 1, "reaction", body=Body(emoji="👍")), push=False)

    world.messages.before = intrude
    answers = await asyncio.gather(*(world.send("c1", "user1", str(k)) for k in range(4)))
    assert [answer.reason_code for answer in answers] == [0, 0, 0, 0]
    history = await world.history("c1")
    assert [one.type for one in history] == ["message", "reaction", "message", "message", "message"]
    assert_counted(history)
    fanned = {one.seq: one.n for one in world.fanned("c1")}
    assert fanned == {one.seq: one.n for one in history if one.seq != 2}


async def test_whoever_takes_up_the_chat_of_a_killed_bridge_counts_anew(make_world: Callable[..., Any]) -> None:
    """It died before it could look: rows that are dense, and one that counts wrongly. Somebody has read them, somebody sends again."""
    first = await make_world()
    assert (await first.send("c1", "user1")).reason_code == 0
    again = new_message_id()
    for one in (event(2, 1, "reaction", body=Body(emoji="👍")), event(3, 3, body=Body(text="셋"), id=again)):
        assert first.messages._insert(one, push=False)
    read = await first.stores.chats.member("c1", "user1")
    await first.stores.chats.correct(read, Member(**{**as_dict(read), "delivered_seq": 3, "seen_seq": 3, "seen_n": 3}))
    assert (await first.send("c1", "user2", "셋", id_=again)).reason_code == 0
    assert rows(await first.history("c1")) == [(1, "message", 1), (2, "reaction", 1), (3, "message", 2)]
    assert [(one.seq, one.n) for one in first.fanned("c1")] == [(1, 1), (3, 2)]
    assert (await first.stores.chats.member("c1", "user1")).seen_n == 2


async def test_a_message_that_lands_in_a_hole_while_it_is_filled_counts() -> None:
    class Busy(MemoryMessages):
        late = event(2, 2)

        async def insert(self, events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
            if any(one.type == "void" for one in events) and self.late.id not in self._events:
                await super().insert([self.late])
            return await super().insert(events, push=push)

    messages = Busy()
    await messages.insert([event(1, 1), event(4, 4), event(5, 5)])
    orders = [Order(messages), Order(messages)]
    loaded = await asyncio.gather(*(order.load(["c1"]) for order in orders))
    history = await messages.after("c1", 0, 9)
    assert rows(history) == [(1, "message", 1), (2, "message", 2), (3, "void", 2), (4, "message", 3), (5, "message", 4)]
    assert [(void.seq, void.n) for one in loaded for void in one.voids] == [(3, 2)]
    assert {one.heads["c1"].n for one in loaded} == {4}


async def test_what_is_right_is_not_written(world: Any) -> None:
    async def renumber(_chat: str, _ns: Mapping[int, int]) -> None:
        raise AssertionError

    world.messages.renumber = renumber
    await asyncio.gather(*(world.send("c1", "user1") for _ in range(20)))
    world.bridge.ingest._commit._order.forget(["c1"])
    assert (await world.send("c1", "user2")).reason_code == 0
    assert_counted(await world.history("c1"))


def as_dict(member: Member) -> dict[str, Any]:
    return {name: getattr(member, name) for name in member.__struct_fields__}
