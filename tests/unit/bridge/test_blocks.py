"""A direct chat in which one has blocked the other: the bridge refuses what is sent there, and looks at no store for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapters.memory.blocks import MemoryBlocks
from chat.envelopes import Invalidation
from chat.ids import direct_chat_id, new_message_id
from chat.models import Chat, ChatKind, Member, Role
from chat.people import Block
from chat.people_stores import Pair
from tests.unit.bridge.conftest import NOW, World, fresh_stores, populate

CHAT = direct_chat_id("haneul", "mori")


class Counting(MemoryBlocks):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[Pair]] = []

    async def among(self, pairs: Sequence[Pair]) -> set[Pair]:
        self.asked.append(pairs)
        return await super().among(pairs)


@pytest.fixture
async def world(make_world: Callable[..., Any]) -> World:
    stores = replace(fresh_stores(), blocks=Counting())
    await populate(stores)
    members = [Member(CHAT, user, Role.MEMBER, NOW) for user in ("haneul", "mori")]
    await stores.chats.create(Chat(CHAT, ChatKind.DIRECT, NOW, "haneul"), members)
    made: World = await make_world(stores)
    return made


async def block(world: World, *, told: bool = True) -> None:
    await world.stores.blocks.put(Block("haneul", "mori", NOW))
    if told:
        await tell(world)


async def tell(world: World) -> None:
    await world.invalidations.publish(Invalidation(kind="member", chat=CHAT, user="mori"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def asked(world: World) -> int:
    assert isinstance(world.stores.blocks, Counting)
    return len(world.stores.blocks.asked)


async def test_what_a_blocked_user_sends_is_refused_and_nothing_of_it_is_stored(world: World) -> None:
    assert (await world.send(CHAT, "mori", "안녕?")).reason_code == 0
    await block(world)
    message_id = new_message_id()
    answer = await world.send(CHAT, "mori", "왜 답이 없어?", id_=message_id)
    assert (answer.reason_code, answer.code) == (0x87, "blocked")
    (reject,) = world.inbox("mori")
    assert (reject["type"], reject["code"], reject["id"]) == ("reject", "blocked", message_id)
    assert [event.body.text for event in await world.history(CHAT) if event.body] == ["안녕?"]
    assert len(world.fanned(CHAT)) == 1


async def test_neither_writes_to_the_other_and_neither_is_told_who_has_blocked(world: World) -> None:
    await block(world)
    answers = [await world.send(CHAT, user) for user in ("haneul", "mori")]
    assert {(answer.reason_code, answer.code) for answer in answers} == {(0x87, "blocked")}
    assert answers[0].reason == answers[1].reason


async def test_what_one_has_said_oneself_may_still_be_taken_away(world: World) -> None:
    said, kept = new_message_id(), new_message_id()
    for message_id in (said, kept):
        await world.send(CHAT, "mori", id_=message_id)
    await block(world)
    for type_ in ("delete", "hide"):
        assert (await world.send(CHAT, "mori", type=type_, target=said, body=None)).reason_code == 0
    for type_, body in (("edit", {"text": "아니"}), ("reaction", {"emoji": "👍"})):
        wish = {"id": new_message_id(), "type": type_, "target": kept, "body": body}
        assert (await world.publish(f"chats/{CHAT}/send/mori", wish)).code == "blocked"
    assert (await world.send(CHAT, "mori", type="pin", target=kept, body=None)).code == "blocked"


async def test_a_message_that_was_stored_before_is_a_repeat(world: World) -> None:
    """P4: its PUBACK was lost; the block came after it."""
    message_id = new_message_id()
    await world.send(CHAT, "mori", id_=message_id)
    await block(world)
    assert (await world.send(CHAT, "mori", id_=message_id)).reason_code == 0


async def test_the_store_is_not_asked_per_message_neither_before_nor_while_blocked(world: World) -> None:
    for _ in range(5):
        await world.send(CHAT, "mori")
        await world.send("c1", "user1")
    assert asked(world) == 1  # for the roster of the direct chat; groups ask nothing
    await block(world)
    for _ in range(5):
        assert (await world.send(CHAT, "mori")).code == "blocked"
    assert asked(world) == 2


async def test_unblocked_they_write_again(world: World) -> None:
    await block(world)
    assert (await world.send(CHAT, "mori")).code == "blocked"
    await world.stores.blocks.drop("haneul", "mori")
    await tell(world)
    assert (await world.send(CHAT, "mori")).reason_code == 0


async def test_in_a_group_a_block_changes_nothing(world: World) -> None:
    await world.stores.blocks.put(Block("user1", "user2", NOW))
    await world.invalidations.publish(Invalidation(kind="member", chat="c1", user="user2"))
    assert (await world.send("c1", "user2")).reason_code == 0


async def test_what_a_service_tells_the_chat_passes(world: World) -> None:
    await block(world)
    wish = {"id": new_message_id(), "type": "system", "system": {"what": "renamed", "by": "haneul"}}
    assert (await world.publish(f"chats/{CHAT}/send/svc-api", wish)).reason_code == 0
