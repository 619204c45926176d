"""Sync: pages, resets, bounds (P7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from chat import topics
from chat.envelopes import Body, Event, SyncRequest
from chat.errors import Unavailable
from chat.ids import new_message_id


async def sync(world: Any, user: str, cursors: dict[str, int], **fields: Any) -> list[dict[str, Any]]:
    """The answers to one request, in order, up to `sync_done`."""
    before = len(world.inbox(user))
    published = await world.publish(topics.sync(user), SyncRequest(cursors, **fields))
    assert published.reason_code == 0
    answers: list[dict[str, Any]] = world.inbox(user)[before:]
    assert [answer["type"] for answer in answers].count("sync_done") == 1
    assert answers[-1] == ({"type": "sync_done", "req": fields["req"]} if "req" in fields else {"type": "sync_done"})
    return answers[:-1]


async def test_what_was_missed_comes_in_order(world: Any) -> None:
    for k in range(5):
        await world.send("c1", "user1", str(k))
    pages = await sync(world, "user2", {"c1": 2, "c2": 0}, req="r1")
    assert [(page["chat"], page["type"], page["next"], page["limited"], page["last"]) for page in pages] == [
        ("c1", "sync", 5, False, 5),
        ("c2", "sync", 0, False, 0),
    ]
    assert [event["body"]["text"] for event in pages[0]["events"]] == ["2", "3", "4"]
    assert {page["req"] for page in pages} == {"r1"}


async def test_pages_continue_at_next(world: Any) -> None:
    for k in range(7):
        await world.send("c1", "user1", str(k))
    texts, cursor, limited = [], 0, True
    while limited:
        (page,) = await sync(world, "user2", {"c1": cursor}, limit=3)
        texts += [event["body"]["text"] for event in page["events"]]
        cursor, limited = page["next"], page["limited"]
    assert texts == [str(k) for k in range(7)]


async def test_resets(world: Any) -> None:
    await world.send("c1", "user1")
    answers = await sync(world, "user3", {"c1": 0, "nowhere": 0, "c2": 7})
    assert [(answer["type"], answer["chat"], answer["reason"]) for answer in answers] == [
        ("reset", "c1", "unknown_chat"),
        ("reset", "nowhere", "unknown_chat"),
        ("reset", "c2", "ahead"),
    ]


async def test_who_has_left_gets_nothing(world: Any) -> None:
    await world.send("c1", "user1")
    await world.stores.chats.remove_member("c1", "user2", datetime.now(UTC))
    (answer,) = await sync(world, "user2", {"c1": 0})
    assert answer["reason"] == "unknown_chat"


@pytest.mark.parametrize("raw", [b"nonsense", b"{}", b'{"cursors":{"c1":-1}}', b'{"cursors":{},"limit":501}'])
async def test_requests_that_can_not_be_read(world: Any, raw: bytes) -> None:
    published = await world.publish(topics.sync("user1"), raw)
    assert published.reason_code == 0x99
    assert [reject["type"] for reject in world.inbox("user1")] == ["reject"]


async def test_a_page_is_bounded_in_bytes(world: Any) -> None:
    for _ in range(6):
        await world.send("c1", "user1", "x" * 60_000)
    (page,) = await sync(world, "user2", {"c1": 0})
    assert 1 <= len(page["events"]) < 6
    assert page["limited"]
    assert page["next"] == len(page["events"])
    seen = list(page["events"])
    while page["limited"]:
        (page,) = await sync(world, "user2", {"c1": page["next"]})
        seen += page["events"]
    assert [event["seq"] for event in seen] == [1, 2, 3, 4, 5, 6]


async def test_a_hole_that_a_killed_bridge_left_is_no_lost_history(world: Any) -> None:
    for seq in (1, 3):
        event = Event("message", new_message_id(), "c1", seq, seq, "user1", datetime.now(UTC), body=Body(text="x"))
        assert world.messages._insert(event, push=False)
    (page,) = await sync(world, "user2", {"c1": 0})
    assert ([event["seq"] for event in page["events"]], page["limited"]) == ([1], True)
    (page,) = await sync(world, "user2", {"c1": 1})
    assert [(event["seq"], event["type"]) for event in page["events"]] == [(2, "void"), (3, "message")]


async def test_a_store_that_is_away_delays_the_answer(world: Any) -> None:
    await world.send("c1", "user1")
    failures = [Unavailable("away"), Unavailable("away")]
    real = world.messages.heads

    async def heads(chats: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(chats)

    world.messages.heads = heads
    (page,) = await sync(world, "user2", {"c1": 0})
    assert len(page["events"]) == 1


async def test_one_that_fails_unexpectedly_does_not_end_its_lane(world: Any) -> None:
    real = world.messages.heads

    async def heads(_chats: Any) -> Any:
        world.messages.heads = real
        raise RuntimeError("unforeseen")

    world.messages.heads = heads
    failed = await world.publish(topics.sync("user2"), SyncRequest({"c1": 0}))
    assert failed.reason_code == 0x97
    assert len(await sync(world, "user2", {"c1": 0})) == 1


async def test_requests_of_one_user_are_answered_in_order(world: Any) -> None:
    chats = {f"x{k}": 0 for k in range(40)}
    await asyncio.gather(*(world.publish(topics.sync("user1"), SyncRequest(chats, req=str(k))) for k in range(3)))
    assert [answer["req"] for answer in world.inbox("user1")] == ["0"] * 41 + ["1"] * 41 + ["2"] * 41


async def test_two_users_at_once(make_world: Callable[..., Any]) -> None:
    world = await make_world()
    await world.send("c1", "user1")
    one, two = await asyncio.gather(sync(world, "user1", {"c1": 0}), sync(world, "user2", {"c1": 0}))
    assert one == two
