"""Counting anew finds no difference, and every difference that there is: on memory and MongoDB; the command on MongoDB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.mongo import connect, migrate, stores_of
from adapters.stores import Stores
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Role, User, Watermarks
from workers import recount as module
from workers.recount import recount

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
KINDS = ("message", "reaction", "message", "void", "message", "system")


async def house(stores: Stores) -> None:
    """Two chats of six events; watermarks everywhere between nothing and all."""
    for user in ("user1", "user2", "user3", "user4"):
        await stores.users.add(User(user, "", "", AT, hides_seen=user == "user4"))
    for chat in ("g-1", "g-2"):
        members = [Member(chat, f"user{k}", Role.MEMBER, AT, hides_seen=k == 4) for k in (1, 2, 3, 4)]
        await stores.chats.create(Chat(chat, ChatKind.GROUP, AT, "user1"), members)
        n, events = 0, []
        for seq, kind in enumerate(KINDS, 1):
            n += kind == "message"
            body = Body(text="안녕") if kind == "message" else None
            events.append(Event(kind, new_message_id(), chat, seq, n, "user1", AT, body=body))
        await stores.messages.insert(events)
        moves = [("user1", 6, 6, 3), ("user2", 6, 4, 2), ("user3", 3, 2, 1)]
        await stores.chats.raise_watermarks([Watermarks(chat, user, d, s, sn) for user, d, s, sn in moves])
    await stores.chats.remove_member("g-2", "user3", AT)


async def found(stores: Stores, *, repair: bool = False) -> tuple[Any, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    return await recount(stores, repair=repair, tell=told.append), told


@pytest.mark.parametrize("page", [1, 3, 1_000])
async def test_what_is_right_is_found_right(stores: Stores, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    monkeypatch.setattr(module, "PAGE", page)
    await house(stores)
    tally, told = await found(stores)
    assert (tally.memberships, len(tally.chats), tally.differences, told) == (8, 2, [], [])


@pytest.mark.parametrize(
    ("wrong", "changed"),
    [
        ({"seen_n": 7}, {"seen_n": [7, 2]}),
        ({"seen_n": 0}, {"seen_n": [0, 2]}),
        ({"seen_seq": 9, "delivered_seq": 9}, {"seen_seq": [9, 6], "delivered_seq": [9, 6], "seen_n": [2, 3]}),
        ({"delivered_seq": 2}, {"delivered_seq": [2, 4]}),
        ({"hides_seen": True}, {"hides_seen": [True, False]}),
    ],
)
async def test_what_is_wrong_is_found_and_repaired(
    stores: Stores, wrong: dict[str, Any], changed: dict[str, Any]
) -> None:
    await house(stores)
    right = await stores.chats.member("g-1", "user2")
    assert right is not None
    assert await stores.chats.correct(right, replace(right, **wrong))
    tally, told = await found(stores)
    assert told == [{"chat": "g-1", "user": "user2", "stored_and_right": changed, "repaired": False}]
    assert len(tally.differences) == 1
    tally, told = await found(stores, repair=True)
    assert (tally.repaired, told[0]["repaired"]) == (1, True)
    assert (await found(stores))[1] == []


async def test_what_changes_meanwhile_is_left_alone(stores: Stores) -> None:
    await house(stores)
    was = await stores.chats.member("g-1", "user2")
    assert was is not None
    await stores.chats.raise_watermarks([Watermarks("g-1", "user2", 6, 6, 3)])
    assert not await stores.chats.correct(was, replace(was, seen_n=0))
    assert not await stores.chats.correct(replace(was, user="user9"), was)
    assert (await found(stores))[1] == []


async def test_a_hole_has_the_count_of_what_is_below(stores: Stores) -> None:
    await house(stores)
    late = Event("message", new_message_id(), "g-1", 8, 4, "user1", AT, body=Body(text="구멍 뒤"))
    await stores.messages.insert([late])
    await stores.chats.raise_watermarks([Watermarks("g-1", "user2", 8, 7, 3)])
    assert (await found(stores))[1] == []


async def test_leaving_and_coming_back_counts_what_was_missed(stores: Stores) -> None:
    await house(stores)
    assert await stores.chats.add_member(Member("g-2", "user3", Role.MEMBER, AT, joined_seq=6, seen_seq=6, seen_n=3))
    row = await stores.chats.member("g-2", "user3")
    assert row is not None
    assert (row.seen_seq, row.seen_n) == (2, 1)
    assert (await found(stores))[1] == []


async def test_the_command(mongo_url: str, mongo_database: str, free_port: Callable[[], int]) -> None:
    db = connect(mongo_url, mongo_database)
    await migrate(db)
    stores = stores_of(db)
    await house(stores)

    def run(*arguments: str, url: str = mongo_url) -> tuple[int, list[dict[str, Any]]]:
        environment = {**os.environ, "PABAL_MONGO_URL": url, "PABAL_MONGO_DATABASE": mongo_database}
        done = subprocess.run(
            [sys.executable, "-m", "workers.recount", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    assert run() == (0, [{"memberships": 8, "chats": 2, "differences": 0, "repaired": 0}])
    await db["members"].update_one({"_id": "g-1/user2"}, {"$set": {"seen_n": 9}})
    code, lines = run()
    assert (code, lines[0]["stored_and_right"], lines[1]["differences"]) == (1, {"seen_n": [9, 2]}, 1)
    assert run("--repair")[0] == 0
    assert run()[0] == 0
    assert run(url=f"mongodb://127.0.0.1:{free_port()}/?replicaSet=none")[0] == 2
    await db.client.close()
