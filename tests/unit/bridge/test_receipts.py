"""Receipts: claims become watermarks (P6)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bridge.receipts import pause
from chat import topics
from chat.envelopes import Body, Delivered, DeliveredMark, Invalidation
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Role
from chat.ports import Delivery, Published


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


async def watermark(world: Any, chat: str, user: str) -> tuple[int, int, int]:
    member = await world.stores.chats.member(chat, user)
    return member.delivered_seq, member.seen_seq, member.seen_n


async def ack(world: Any, chat: str, user: str, **marks: int) -> Any:
    return await world.publish(topics.ack(chat, user), marks)


async def messages(world: Any, count: int) -> None:
    for _ in range(count):
        assert (await world.send("c1", "user1")).reason_code == 0


async def test_an_acknowledgement_is_settled_when_it_is_stored_and_told(world: Any) -> None:
    await messages(world, 3)
    assert (await ack(world, "c1", "user2", delivered=3)).reason_code == 0
    assert await watermark(world, "c1", "user2") == (3, 0, 0)
    assert (await ack(world, "c1", "user2", seen=2)).reason_code == 0
    assert await watermark(world, "c1", "user2") == (3, 2, 2)
    await until(
        lambda: any(m == {"user": "user2", "delivered": 3, "seen": 2} for u in world.receipts("c1") for m in u["marks"])
    )
    rows = await world.stores.receipts.reached("c1", 1, 3)
    assert [(row.kind, row.seq) for row in rows if row.user == "user2"] == [("seen", 2), ("delivered", 3)]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ({"delivered": 999}, (3, 0, 0)),
        ({"seen": 999}, (3, 3, 3)),
        ({"delivered": 1, "seen": 2}, (2, 2, 2)),
        ({"delivered": 0}, (0, 0, 0)),
    ],
)
async def test_claims_are_cut_to_what_is_there(
    world: Any, marks: dict[str, int], expected: tuple[int, int, int]
) -> None:
    await messages(world, 3)
    assert (await ack(world, "c1", "user2", **marks)).reason_code == 0
    assert await watermark(world, "c1", "user2") == expected


async def test_watermarks_never_fall_and_what_is_no_move_leaves_no_row(world: Any) -> None:
    await messages(world, 3)
    await ack(world, "c1", "user2", seen=3)
    before = await world.stores.receipts.reached("c1", 1, 9)
    for marks in ({"delivered": 1}, {"seen": 2}, {"delivered": 3, "seen": 1}, {"seen": 3}):
        assert (await ack(world, "c1", "user2", **marks)).reason_code == 0
    assert await watermark(world, "c1", "user2") == (3, 3, 3)
    assert await world.stores.receipts.reached("c1", 1, 9) == before


async def test_seen_n_counts_messages_only(world: Any) -> None:
    id_ = new_message_id()
    await world.send("c1", "user1", id_=id_)
    for _ in range(3):
        await world.send("c1", "user1", type="reaction", target=id_, body=Body(emoji="👍"))
    await world.send("c1", "user1")
    await ack(world, "c1", "user2", seen=4)
    assert await watermark(world, "c1", "user2") == (4, 4, 1)


async def test_a_bridge_that_did_not_store_the_events_knows_them_from_the_store(make_world: Callable[..., Any]) -> None:
    first = await make_world()
    await messages(first, 100)
    second = await make_world(first.stores)
    assert (await ack(second, "c1", "user2", seen=7)).reason_code == 0
    assert await watermark(second, "c1", "user2") == (7, 7, 7)
    await messages(first, 1)
    assert (await ack(second, "c1", "user2", seen=101)).reason_code == 0
    assert await watermark(second, "c1", "user2") == (101, 101, 101)


async def test_the_brokers_reports_are_receipts_of_delivery(world: Any) -> None:
    await messages(world, 5)
    report = {"marks": [["c1", "user2", 4], ["c1", "user9", 5], ["nowhere", "user2", 1], ["c1", "user2", 3]]}
    assert (await world.publish(topics.event("delivered"), report)).reason_code == 0
    assert await watermark(world, "c1", "user2") == (4, 0, 0)
    assert (await world.publish(topics.event("delivered"), b"nonsense")).reason_code == 0x99


async def test_many_claims_are_one_write(world: Any) -> None:
    await messages(world, 20)
    while await watermark(world, "c1", "user1") != (20, 20, 20):
        await asyncio.sleep(0.002)
    calls: list[Any] = []
    real = world.stores.chats.raise_watermarks

    async def raise_watermarks(moves: Any) -> None:
        calls.append(moves)
        await real(moves)

    world.stores.chats.raise_watermarks = raise_watermarks
    answers = await asyncio.gather(*(ack(world, "c1", "user2", seen=seq) for seq in range(1, 21)))
    assert {answer.reason_code for answer in answers} == {0}
    assert [[(move.user, move.seen_seq, move.seen_n) for move in moves] for moves in calls] == [[("user2", 20, 20)]]


@pytest.mark.parametrize(("chat", "user"), [("c1", "user3"), ("nowhere", "user1")])
async def test_whoever_is_no_member_acknowledges_nothing(world: Any, chat: str, user: str) -> None:
    await messages(world, 1)
    while await watermark(world, "c1", "user1") != (1, 1, 1):
        await asyncio.sleep(0.002)
    answer = await ack(world, chat, user, seen=1)
    assert (answer.reason_code, answer.code) == (0x87, "not_a_member")
    assert await world.stores.chats.member(chat, user) is None or (await watermark(world, chat, user)) == (1, 1, 1)
    assert [reject["code"] for reject in world.inbox(user)] == ["not_a_member"]


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"{}", b'{"seen":-1}', b'{"seen":"1"}', b'{"seen":1,"x":2}'])
async def test_acknowledgements_that_can_not_be_read(world: Any, raw: bytes) -> None:
    await messages(world, 1)
    assert (await world.publish(topics.ack("c1", "user2"), raw)).reason_code == 0x99
    assert await watermark(world, "c1", "user2") == (0, 0, 0)


async def test_a_member_of_a_moment_ago_may_acknowledge(world: Any) -> None:
    await messages(world, 1)
    await world.stores.chats.add_member(Member("c1", "user4", Role.READER, datetime.now(UTC)))
    assert (await ack(world, "c1", "user4", delivered=1)).reason_code == 0
    assert await watermark(world, "c1", "user4") == (1, 0, 0)


async def test_the_log_is_written_before_the_watermark(world: Any) -> None:
    """So that no crash leaves a message SEEN without a time; a claim that comes again adds no second row."""
    await messages(world, 1)
    failures = [Unavailable("killed between the two")]
    real = world.stores.chats.raise_watermarks
    rows_then: list[int] = []

    async def raise_watermarks(moves: Any) -> None:
        if failures:
            rows_then.append(len([r for r in await world.stores.receipts.reached("c1", 1, 1) if r.user == "user2"]))
            raise failures.pop()
        await real(moves)

    world.stores.chats.raise_watermarks = raise_watermarks
    assert (await ack(world, "c1", "user2", seen=1)).reason_code == 0
    assert rows_then == [2]
    rows = [r for r in await world.stores.receipts.reached("c1", 1, 1) if r.user == "user2"]
    assert sorted(row.kind for row in rows) == ["delivered", "seen"]


async def test_a_senders_move_is_logged_and_told_where_it_passes_others_messages(world: Any) -> None:
    """What somebody wrote themselves says by itself that they have it; nobody asks when they saw it."""
    await messages(world, 2)
    while await watermark(world, "c1", "user1") != (2, 2, 2):
        await asyncio.sleep(0.002)
    assert await world.stores.receipts.reached("c1", 1, 9) == []
    await world.send("c1", "user2")
    await until(lambda: world.receipts("c1"))
    assert [update["marks"] for update in world.receipts("c1")] == [[{"user": "user2", "delivered": 3, "seen": 3}]]
    rows = await world.stores.receipts.reached("c1", 1, 9)
    assert [(row.user, row.kind, row.seq) for row in rows] == [("user2", "seen", 3)]
    await world.send("c1", "user2")
    await world.send("c1", "user1")
    await until(lambda: marks(world.receipts("c1"), "user1"))
    rows = await world.stores.receipts.reached("c1", 1, 9)
    assert [(row.user, row.kind, row.seq) for row in rows] == [("user2", "seen", 3), ("user1", "seen", 5)]


async def test_updates_wait_for_the_link(world: Any) -> None:
    await messages(world, 2)
    while await watermark(world, "c1", "user1") != (2, 2, 2):
        await asyncio.sleep(0.002)
    told = len(world.receipts("c1"))
    world.bridge_link.up = False
    report(world, DeliveredMark("c1", "user2", 2))
    while await watermark(world, "c1", "user2") != (2, 0, 0):
        await asyncio.sleep(0.002)
    assert len(world.receipts("c1")) == told
    world.bridge_link.up = True
    await until(lambda: len(world.receipts("c1")) > told)


async def test_where_nobody_hears_the_updates_they_gather(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    updates = world.bridge.receipts._updates
    monkeypatch.setattr(updates, "_clock", lambda: now)
    await messages(world, 4)
    world.broker.refuse = lambda topic: Published(0x10) if topic == topics.receipts("c1") else None
    await ack(world, "c1", "user2", delivered=1)
    await until(lambda: updates._unheard)
    world.broker.refuse = lambda _topic: None
    for seq in (2, 3):
        await ack(world, "c1", "user2", seen=seq)
    await ack(world, "c1", "dev-thermo", delivered=3)
    told = len(world.receipts("c1"))
    await world.bridge.receipts.flush()
    assert len(world.receipts("c1")) == told
    now += 2.1
    await until(lambda: len(world.receipts("c1")) > told)
    assert world.receipts("c1")[-1]["marks"] == [
        {"user": "user2", "delivered": 3, "seen": 3},
        {"user": "dev-thermo", "delivered": 3, "seen": 0},
    ]
    await ack(world, "c1", "user2", seen=4)
    await until(lambda: marks(world.receipts("c1"), "user2")[-1] == (4, 4))


@pytest.mark.parametrize(
    ("every", "took", "expected"),
    [(0.2, 0.0, 0.2), (0.2, 0.04, 0.2), (0.2, 0.1, 0.4), (0.2, 30.0, 0.5), (2.0, 30.0, 2.0)],
)
def test_receipts_that_take_long_come_less_often(every: float, took: float, expected: float) -> None:
    assert pause(every, took) == pytest.approx(expected)


def report(world: Any, *marks: DeliveredMark) -> list[int]:
    """The broker's report, whatever the link is; the list gets the reason code that it is settled with."""
    settled: list[int] = []
    payload = msgspec.json.encode(Delivered(list(marks)))
    delivery = Delivery(topics.event("delivered"), payload, 1, lambda code, _reason, _name: settled.append(code))
    world.bridge.receipts.offer_delivered(delivery)
    return settled


# -- who hides what they have seen -----------------------------------------------------------------------------------------


async def big(world: Any, *users: str, hiding: str = "") -> None:
    now = datetime.now(UTC)
    members = [Member("big", user, Role.MEMBER, now, hides_seen=user == hiding) for user in users]
    await world.stores.chats.create(Chat("big", ChatKind.GROUP, now, users[0]), members)
    await world.send("big", users[0])


def marks(updates: list[dict[str, Any]], user: str) -> list[tuple[int, int]]:
    return [(m["delivered"], m["seen"]) for update in updates for m in update["marks"] if m["user"] == user]


def inbox_receipts(world: Any, user: str) -> list[dict[str, Any]]:
    return [one for one in world.inbox(user) if one["type"] == "receipts"]


async def test_who_hides_what_they_have_seen_neither_shows_nor_sees_it(world: Any) -> None:
    await big(world, "p0", "p1", "p2", hiding="p1")
    for user in ("p1", "p2"):
        await ack(world, "big", user, seen=1)
    await until(lambda: marks(world.receipts("big"), "p2") and marks(inbox_receipts(world, "p0"), "p2"))
    everybody = world.receipts("big")
    assert {seen for user in ("p0", "p1", "p2") for _, seen in marks(everybody, user)} == {0}, "p1 reads this topic too"
    assert marks(everybody, "p1")[-1] == marks(everybody, "p2")[-1] == (1, 0), "delivered is told of all"
    for user in ("p0", "p2"):
        assert marks(inbox_receipts(world, user), "p2")[-1] == (1, 1)
        assert marks(inbox_receipts(world, user), "p1") == []
    assert inbox_receipts(world, "p1") == []
    assert await watermark(world, "big", "p1") == (1, 1, 1), "their own unread count needs it"


async def test_nobody_sees_anything_in_a_pair_of_which_one_hides_it(world: Any) -> None:
    await big(world, "p0", "p1", hiding="p1")
    await ack(world, "big", "p1", seen=1)
    await until(lambda: marks(world.receipts("big"), "p1"))
    assert not inbox_receipts(world, "p0")
    assert not inbox_receipts(world, "p1")
    assert {seen for user in ("p0", "p1") for _, seen in marks(world.receipts("big"), user)} == {0}


async def test_a_change_of_mind_holds_at_once(world: Any) -> None:
    await big(world, "p0", "p1")
    await world.stores.chats.set_hides_seen("p1", hides=True)
    world.bridge.members.apply(Invalidation("member", chat="big", user="p1"))
    await ack(world, "big", "p1", seen=1)
    await until(lambda: marks(world.receipts("big"), "p1"))
    assert marks(world.receipts("big"), "p1")[-1] == (1, 0)
