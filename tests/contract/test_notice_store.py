"""`NoticeStore`, and that a notice is stored with its change: both or neither."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from pymongo.errors import OperationFailure

from adapters.mongo import open_stores
from adapters.stores import Stores
from chat.envelopes import System
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Notice, Role

AT = datetime(2026, 3, 1, 9, 30, 0, 123_000, tzinfo=UTC)


def notice(chat: str = "g-1", **system: Any) -> Notice:
    time.sleep(0.002)  # ids of one millisecond have no order
    return Notice(new_message_id(), chat, System(**{"what": "left", "by": "user1", **system}), AT)


def member(user: str) -> Member:
    return Member("g-1", user, Role.MEMBER, AT)


async def populate(stores: Stores) -> None:
    chat = Chat("g-1", ChatKind.GROUP, AT, "user1", title="등산")
    await stores.chats.create(chat, [member("user1"), member("user2")])


async def waiting(stores: Stores) -> list[System]:
    return [one.system for one in await stores.notices.of_chat("g-1", 100)]


async def test_notices_come_back_in_order_and_are_dropped(stores: Stores) -> None:
    assert await stores.notices.after(("", ""), 10) == []
    notices = [
        notice("g-1", users=["user2"]),
        notice("g-1", what="renamed", title="주말 등산 ⛰️"),
        notice("g-1", what="renamed"),
        notice("g-10", what="role", users=["user2"], role="admin"),
        notice("g-2"),
    ]
    for one in reversed(notices):
        await stores.notices.add(one)
    assert await stores.notices.of_chat("g-1", 10) == notices[:3]
    assert await stores.notices.of_chat("g-1", 2) == notices[:2]
    everything = await stores.notices.after(("", ""), 10)
    assert sorted(everything, key=lambda one: one.id) == notices
    assert await stores.notices.after((everything[2].chat, everything[2].id), 10) == everything[3:]
    await stores.notices.drop(notices[1])
    await stores.notices.drop(notices[1])
    assert await stores.notices.of_chat("g-1", 10) == [notices[0], notices[2]]


async def test_a_notice_grows_by_users(stores: Stores) -> None:
    first = replace(notice(what="joined", users=["user3"], role="member"), open=True)
    later = AT + timedelta(seconds=5)
    await stores.notices.add(first)
    await stores.notices.add(replace(first, at=later, system=replace(first.system, users=["user4", "user3"])))
    assert await stores.notices.of_chat("g-1", 10) == [
        replace(first, at=later, system=replace(first.system, users=["user3", "user4"]))
    ]


async def test_what_changes_something_is_noted_with_it_and_nothing_else(stores: Stores) -> None:
    await populate(stores)
    chats = stores.chats
    assert await chats.rename("g-1", "바다", notice=notice(what="renamed", title="바다"))
    assert not await chats.rename("g-9", "바다", notice=notice("g-9", what="renamed"))
    assert await chats.set_role("g-1", "user2", Role.ADMIN, notice=notice(what="role", users=["user2"], role="admin"))
    assert not await chats.set_role("g-1", "user9", Role.ADMIN, notice=notice(what="role"))
    assert not await chats.add_member(member("user2"), notice=notice(what="joined", users=["user2"]))
    assert await chats.remove_member("g-1", "user2", AT, notice=notice(users=["user2"]))
    assert not await chats.remove_member("g-1", "user2", AT, notice=notice(users=["user2"]))
    assert await chats.add_member(member("user2"), notice=notice(what="joined", users=["user2"]))
    assert await chats.add_member(member("user3"), notice=notice(what="joined", users=["user3"]))
    assert [(one.what, one.users) for one in await waiting(stores)] == [
        ("renamed", []),
        ("role", ["user2"]),
        ("left", ["user2"]),
        ("joined", ["user2"]),
        ("joined", ["user3"]),
    ]
    assert await stores.notices.of_chat("g-9", 10) == []


async def test_of_many_who_add_the_same_member_one_does_and_tells(stores: Stores) -> None:
    await populate(stores)
    notices = [notice(what="joined", users=["user3"]) for _ in range(5)]
    added = await asyncio.gather(*(stores.chats.add_member(member("user3"), notice=one) for one in notices))
    assert sorted(added) == [False, False, False, False, True]
    assert len(await waiting(stores)) == 1


async def test_a_change_that_cannot_be_noted_is_not_made(mongo_url: str, mongo_database: str) -> None:
    stores = await open_stores(mongo_url, mongo_database)
    await populate(stores)
    database: Any = stores.chats._db  # type: ignore[attr-defined]
    await database.create_collection("notices", validator={"none": {"$exists": True}})
    with pytest.raises(OperationFailure):
        await stores.chats.rename("g-1", "바다", notice=notice(what="renamed"))
    with pytest.raises(OperationFailure):
        await stores.chats.add_member(member("user3"), notice=notice(what="joined", users=["user3"]))
    assert (await stores.chats.get("g-1")).title == "등산"  # type: ignore[union-attr]
    assert await stores.chats.member("g-1", "user3") is None
    await stores.close()
