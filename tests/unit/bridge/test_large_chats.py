"""Receipts of large chats: counts instead of names, nothing written per member that can be written together, nothing lost (P6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from chat import topics
from chat.envelopes import Delivered, DeliveredMark, Invalidation
from chat.errors import Unavailable
from chat.models import EVERYBODY, Chat, ChatKind, Member, Role
from chat.ports import Delivery

NAMED = 3
MakeWorld = Callable[..., Any]


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def big(world: Any, count: int = 6, *, hiding: str = "", devices: int = 0) -> None:
    """A chat of `p0`, `p1`, … with one message of `p0`, whose watermark is stored."""
    now = datetime.now(UTC)
    users = [*(f"p{number}" for number in range(count)), *(f"dev-{number}" for number in range(devices))]
    members = [Member("big", user, Role.MEMBER, now, hides_seen=user == hiding) for user in users]
    await world.stores.chats.create(Chat("big", ChatKind.GROUP, now, "p0"), members)
    await write(world)


async def write(world: Any, user: str = "p0") -> None:
    assert (await world.send("big", user)).reason_code == 0
    last = (await world.stores.messages.head("big")).seq
    while (await watermark(world, user))[1] != last:
        await asyncio.sleep(0.002)


async def watermark(world: Any, user: str) -> tuple[int, int, int]:
    member = await world.stores.chats.member("big", user)
    return member.delivered_seq, member.seen_seq, member.seen_n


async def ack(world: Any, user: str, **marks: int) -> None:
    assert (await world.publish(topics.ack("big", user), marks)).reason_code == 0


def report(world: Any, seq: int, *users: str, chat: str = "big") -> list[int]:
    """The broker's report; the list gets the reason code that it is settled with."""
    settled: list[int] = []
    payload = msgspec.json.encode(Delivered([DeliveredMark(chat, user, seq) for user in users]))
    delivery = Delivery(topics.event("delivered"), payload, 1, lambda code, _reason, _name: settled.append(code))
    world.bridge.receipts.offer_delivered(delivery)
    return settled


def counts(world: Any) -> list[tuple[int, int, int]]:
    return [(one["seq"], one["delivered"], one["seen"]) for one in world.receipts("big") if "marks" not in one]


async def log(world: Any) -> list[tuple[str, str, int]]:
    return [(row.user, row.kind, row.seq) for row in await world.stores.receipts.reached("big", 1, 99)]


def count_calls(world: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many moves each write of watermarks has."""
    calls: list[int] = []
    real = world.stores.chats.raise_watermarks

    async def raise_watermarks(moves: Any) -> None:
        calls.append(len(moves))
        await real(moves)

    monkeypatch.setattr(world.stores.chats, "raise_watermarks", raise_watermarks)
    return calls


async def test_large_chats_get_counts(make_world: MakeWorld) -> None:
    world = await make_world(bridge_receipts_named=NAMED)
    await big(world, 5, devices=1)
    await ack(world, "p1", delivered=1)
    await ack(world, "dev-0", delivered=1)
    world.bridge.receipts._updates._counts._counted.clear()
    await ack(world, "p2", seen=1)
    await until(lambda: (1, 3, 2) in counts(world))
    assert not [one for one in world.receipts("big") if "marks" in one]
    assert await log(world) == [], "nobody's moves are logged"


async def test_counts_stay_right_when_members_join_and_leave_and_over_all_bridges(make_world: MakeWorld) -> None:
    world = await make_world(bridge_receipts_named=NAMED)
    other = await make_world(world.stores, world.broker, bridge_receipts_named=NAMED)
    await big(world, 6, hiding="p5")
    for one in (world, other):  # each has a roster in memory that the other does not change
        await one.bridge.members.rosters(["big"])
    await ack(world, "p1", seen=1)
    await ack(world, "p5", seen=1)
    await world.stores.chats.remove_member("big", "p1", datetime.now(UTC))
    late = Member("big", "p9", Role.MEMBER, datetime.now(UTC), joined_seq=1, delivered_seq=1, seen_seq=1)
    await world.stores.chats.add_member(late)
    report(other, 1, "p2")
    await other.bridge.receipts.close()
    assert counts(world)[-1] == (1, 3, 1), "p0 and p2 and p5, who hides what was seen"


async def test_a_large_chat_is_counted_once_a_second(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world = await make_world(bridge_receipts_named=NAMED)
    counted = 0
    real = world.stores.chats.reached

    async def reached(chat: str, seq: int) -> Any:
        nonlocal counted
        counted += 1
        return await real(chat, seq)

    monkeypatch.setattr(world.stores.chats, "reached", reached)
    now = 100.0
    monkeypatch.setattr(world.bridge.receipts._updates._counts, "_clock", lambda: now)
    await big(world)
    for user in ("p1", "p2", "p3"):
        await ack(world, user, delivered=1)
        await world.bridge.receipts.flush()
    assert counted == 1
    now += 1.1
    await world.bridge.receipts.flush()
    assert counted == 2
    assert counts(world)[-1] == (1, 4, 1)


async def test_a_message_to_five_thousand_is_one_row_one_publish_and_no_write_per_member(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(bridge_receipts_hold=0.02)
    raised = count_calls(world, monkeypatch)
    await big(world, 5_000)
    assert [len(events) for events in world.messages.inserts] == [1]
    assert len(world.fanned("big")) == 1
    assert raised == [1], "the sender's own"
    assert len(world.jobs.jobs) == 1
    settled = report(world, 1, *(f"p{number}" for number in range(1, 2_001)))
    await until(lambda: counts(world))
    assert settled == [0]
    assert raised == [1, 2_000], "one call"
    assert counts(world) == [(1, 2_001, 1)]
    assert await log(world) == []


async def test_what_the_broker_reports_is_held_back_and_merged(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=60.0)
    await big(world)
    raised = count_calls(world, monkeypatch)
    first = report(world, 1, "p1", "p2", "p3")
    await world.bridge.receipts.flush()
    await write(world)
    second = report(world, 2, "p1", "p2")
    small = report(world, 1, "user1", chat="nowhere")
    await world.bridge.receipts.flush()
    assert raised == [1], "the sender's own"
    assert (first, second, small) == ([], [], []), "the broker keeps them until they are stored"
    world.bridge.receipts._ripen()
    await world.bridge.receipts.flush()
    assert raised == [1, 3]
    assert (first, second, small) == ([0], [0], [0])
    assert [await watermark(world, f"p{number}") for number in range(1, 5)] == [
        (2, 0, 0),
        (2, 0, 0),
        (1, 0, 0),
        (0, 0, 0),
    ]
    assert counts(world) == [(2, 3, 1)], "p0, p1, p2"


async def test_reports_about_small_chats_are_stored_at_once(make_world: MakeWorld) -> None:
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=60.0)
    await big(world)
    await world.send("c1", "user1")
    report(world, 1, "p1")
    settled = report(world, 1, "user2", chat="c1")
    await world.bridge.receipts.flush()
    assert (await world.stores.chats.member("c1", "user2")).delivered_seq == 1
    assert await watermark(world, "p1") == (0, 0, 0)
    assert settled == [], "it came with what is held back; that it is told again would do no harm"


async def test_a_members_own_acknowledgement_is_stored_before_it_is_acknowledged(make_world: MakeWorld) -> None:
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=60.0)
    await big(world)
    await write(world)
    report(world, 1, "p1")
    await world.bridge.receipts.flush()
    await ack(world, "p1", seen=2)
    assert await watermark(world, "p1") == (2, 2, 2)
    world.bridge.receipts._ripen()
    await world.bridge.receipts.flush()
    assert await watermark(world, "p1") == (2, 2, 2), "what was held back is below it by now"


async def test_a_graceful_stop_stores_what_is_held_back(make_world: MakeWorld) -> None:
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=60.0)
    await big(world)
    settled = report(world, 1, "p1", "p2")
    await world.bridge.receipts.flush()
    assert settled == []
    await world.close()
    assert settled == [0]
    assert [await watermark(world, user) for user in ("p1", "p2")] == [(1, 0, 0)] * 2


async def test_a_killed_bridge_loses_nothing_that_the_broker_still_has(make_world: MakeWorld) -> None:
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=60.0)
    await big(world)
    settled = report(world, 1, "p1", "p2")
    await world.bridge.receipts.flush()
    world.task.cancel()
    await asyncio.wait([world.task])
    assert settled == [], "so the broker gives it to the next"
    assert await watermark(world, "p1") == (0, 0, 0)
    after = await make_world(world.stores, world.broker, bridge_receipts_named=NAMED, bridge_receipts_hold=0)
    again = report(after, 1, "p1", "p2")
    await until(lambda: again)
    assert await watermark(world, "p1") == (1, 0, 0)


async def test_what_is_held_back_outlives_a_database_that_is_away(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=0.01)
    await big(world)
    failures = [Unavailable("away"), Unavailable("away")]
    real = world.stores.chats.raise_watermarks

    async def raise_watermarks(moves: Any) -> None:
        if failures:
            raise failures.pop()
        await real(moves)

    monkeypatch.setattr(world.stores.chats, "raise_watermarks", raise_watermarks)
    settled = report(world, 1, "p1", "p2")
    await until(lambda: settled)
    assert not failures
    assert settled == [0]
    assert await watermark(world, "p2") == (1, 0, 0)


async def test_too_much_is_not_held_back(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.receipts.HELD_MOST", 2)
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=60.0)
    await big(world)
    settled = report(world, 1, "p1", "p2", "p3")
    await world.bridge.receipts.flush()
    assert settled == []
    await world.bridge.receipts.flush()
    assert settled == [0]


async def test_when_everybody_has_it_that_is_logged_once(make_world: MakeWorld) -> None:
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=0)
    await big(world, 5)
    for users, expected in ((("p1", "p2"), []), (("p3", "p4"), [(EVERYBODY, "delivered", 1)])):
        world.bridge.receipts._updates._counts._counted.clear()
        report(world, 1, *users)
        await world.bridge.receipts.flush()
        assert await log(world) == expected
    for user in ("p1", "p2", "p3", "p4"):
        await ack(world, user, seen=1)
    world.bridge.receipts._updates._counts._counted.clear()
    await world.bridge.receipts.flush()
    assert await log(world) == [(EVERYBODY, "delivered", 1), (EVERYBODY, "seen", 1)]


async def test_a_chat_that_grows_and_shrinks(make_world: MakeWorld) -> None:
    """Names, then counts, then names; nothing sinks on the way."""
    world = await make_world(bridge_receipts_named=NAMED, bridge_receipts_hold=60.0)
    await big(world, 3)
    report(world, 1, "p1")
    await world.bridge.receipts.flush()
    assert await log(world) == [("p1", "delivered", 1)]
    await world.stores.chats.add_member(Member("big", "p3", Role.MEMBER, datetime.now(UTC), joined_seq=1))
    world.bridge.members.apply(Invalidation("member", chat="big", user="p3"))
    await write(world)
    report(world, 2, "p1", "p3")
    await world.bridge.receipts.flush()
    assert await watermark(world, "p1") == (1, 0, 0)
    await world.stores.chats.remove_member("big", "p3", datetime.now(UTC))
    world.bridge.members.apply(Invalidation("member", chat="big", user="p3"))
    world.bridge.receipts._ripen()
    await world.bridge.receipts.flush()
    assert await watermark(world, "p1") == (2, 0, 0)
    assert await watermark(world, "p3") == (0, 0, 0), "who has left claims nothing any more"
    assert await log(world) == [("p1", "delivered", 1), ("p1", "delivered", 2)]
    assert {"user": "p1", "delivered": 2, "seen": 0} in world.receipts("big")[-1]["marks"]
