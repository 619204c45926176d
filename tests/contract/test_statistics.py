"""`StatisticsStore`: every event and receipt is counted exactly once, on memory and MongoDB."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from adapters.mongo import open_stores
from adapters.stores import Stores
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Head, Member, Receipt, Role
from chat.statistics import BOUNDS_MS, Figures, Span

DAY = datetime(2026, 5, 4, tzinfo=UTC)
LATER = timedelta(minutes=5)


def at(hour: float) -> datetime:
    return DAY + timedelta(hours=hour)


async def chat(stores: Stores, id_: str, *people: str) -> None:
    members = [Member(id_, user, Role.MEMBER, DAY) for user in people]
    await stores.chats.create(Chat(id_, ChatKind.GROUP, DAY, people[0]), members)


async def say(stores: Stores, chat: str, *rows: tuple[int, str, float], type_: str = "message") -> None:
    """Events (seq, sender, hour), and the chat's cached head."""
    events = [
        Event(
            type=type_,
            id=new_message_id(),
            chat=chat,
            seq=seq,
            n=seq,
            sender=sender,
            at=at(hour),
            body=Body(text="안녕"),
        )
        for seq, sender, hour in rows
    ]
    await stores.messages.insert(events)
    last = events[-1]
    # Whatever their own time: what is looked for is chats that were written to since the last pass.
    await stores.chats.touch({chat: (Head(last.seq, last.n), datetime.now(UTC))})


async def delivered(stores: Stores, chat: str, user: str, seq: int, when: datetime) -> None:
    await stores.receipts.append([Receipt(chat, user, "delivered", seq, when), Receipt(chat, user, "seen", seq, when)])


async def roll(stores: Stores, limit: int = 10_000) -> bool:
    return (await stores.statistics.roll_up(now=datetime.now(UTC) + LATER, limit=limit)).done


async def read(stores: Stores, span: Span) -> dict[float, Figures]:
    found = await stores.statistics.figures(span, since=DAY, until=DAY + timedelta(days=9))
    assert found == sorted(found, key=lambda row: row.begin)
    return {(row.begin - DAY) / timedelta(hours=1): row for row in found}


async def test_hours_and_days_add_up_however_often_it_is_counted(stores: Stores) -> None:
    assert await stores.statistics.counted_until() is None
    assert await roll(stores)
    assert await read(stores, Span.HOUR) == {}
    await chat(stores, "g-1", "haneul", "bada")
    await chat(stores, "g-2", "haneul", "cho")
    await say(stores, "g-1", (1, "haneul", 1.0), (2, "bada", 1.5), (3, "haneul", 1.99), (4, "haneul", 2.0))
    await say(stores, "g-2", (1, "haneul", 1.2), (2, "dev-1", 1.3), (3, "haneul", 25.0))
    for _ in range(3):
        while not await roll(stores):
            pass
        hours, days = await read(stores, Span.HOUR), await read(stores, Span.DAY)
        assert {hour: (row.messages, row.active_users) for hour, row in hours.items()} == {
            1: (5, 2),
            2: (1, 1),
            25: (1, 1),
        }
        assert {day: (row.messages, row.active_users) for day, row in days.items()} == {0: (6, 2), 24: (1, 1)}
    # After a while: more in an old hour, and somebody new in a day that was counted.
    await say(stores, "g-1", (5, "cho", 2.5), (6, "bada", 2.6))
    assert await roll(stores)
    hours, days = await read(stores, Span.HOUR), await read(stores, Span.DAY)
    assert (hours[2].messages, hours[2].active_users) == (3, 3)
    assert (days[0].messages, days[0].active_users) == (8, 3)
    assert await stores.statistics.counted_until() is not None


async def test_events_that_are_no_messages_make_active_but_count_as_none(stores: Stores) -> None:
    await chat(stores, "g-1", "haneul", "bada")
    await say(stores, "g-1", (1, "haneul", 1.0))
    await say(stores, "g-1", (2, "bada", 3.0), type_="reaction")
    await say(stores, "g-1", (3, "svc-api", 4.0), type_="system")
    await say(stores, "g-1", (4, "bada", 5.0), type_="void")
    await roll(stores)
    found = {hour: (row.messages, row.active_users) for hour, row in (await read(stores, Span.HOUR)).items()}
    assert found == {1: (1, 1), 3: (0, 1)}


async def test_deliveries_and_latencies(stores: Stores) -> None:
    await chat(stores, "g-1", "haneul", "bada", "cho")
    await say(stores, "g-1", (1, "haneul", 1.0), (2, "haneul", 1.0), (3, "haneul", 1.0), (4, "bada", 1.0))
    fast, slow = timedelta(milliseconds=7), timedelta(seconds=30)
    await delivered(stores, "g-1", "bada", 1, at(1) + fast)
    await roll(stores)
    await delivered(stores, "g-1", "bada", 3, at(1) + fast)
    await delivered(stores, "g-1", "cho", 4, at(1) + slow)
    await delivered(stores, "g-1", "haneul", 3, at(2))  # their own: no latency
    for _ in range(2):
        await roll(stores)
        hours = await read(stores, Span.HOUR)
        assert {hour: row.deliveries for hour, row in hours.items()} == {1: 3 + 4, 2: 3}
        assert sum(hours[1].latencies) == 3
        assert sum(hours[2].latencies) == 0
        assert [hours[1].percentile(share) for share in (0.5, 0.66, 0.95)] == [10, 10, 60_000]
        assert hours[2].percentile(0.5) is None
    (day,) = (await read(stores, Span.DAY)).values()
    assert (day.deliveries, sum(day.latencies), day.percentile(0.99)) == (10, 3, 60_000)


async def test_who_joins_late_is_not_delivered_what_was_before(stores: Stores) -> None:
    await chat(stores, "g-1", "haneul")
    await stores.chats.add_member(Member("g-1", "bada", Role.MEMBER, DAY, joined_seq=5))
    await say(stores, "g-1", *((seq, "haneul", 1.0) for seq in range(1, 8)))
    await delivered(stores, "g-1", "bada", 7, at(1))
    await roll(stores)
    assert (await read(stores, Span.HOUR))[1].deliveries == 2


async def test_bounded_steps_come_to_the_same(stores: Stores) -> None:
    for number in range(7):
        await chat(stores, f"g-{number}", "haneul", "bada")
        await say(stores, f"g-{number}", *((seq, "haneul", 1.0 + seq) for seq in range(1, 4)))
        await delivered(stores, f"g-{number}", "bada", 3, at(5))
    steps = 0
    while not await roll(stores, limit=4):
        steps += 1
        assert steps < 50
    hours = await read(stores, Span.HOUR)
    assert {hour: row.messages for hour, row in hours.items()} == {2: 7, 3: 7, 4: 7, 5: 0}
    assert hours[5].deliveries == 21


async def test_two_processes_count_nothing_twice(mongo_url: str, mongo_database: str) -> None:
    both = [await open_stores(mongo_url, mongo_database) for _ in range(2)]
    stores = both[0]
    for number in range(5):
        await chat(stores, f"g-{number}", "haneul", "bada")
        await say(stores, f"g-{number}", *((seq, "haneul", 1.0) for seq in range(1, 11)))
        await delivered(stores, f"g-{number}", "bada", 10, at(1))
    await asyncio.gather(*(roll(one) for one in both for _ in range(3)))
    assert await roll(stores)
    hour = (await read(stores, Span.HOUR))[1]
    assert (hour.messages, hour.active_users, hour.deliveries, sum(hour.latencies)) == (50, 1, 50, 5)
    for one in both:
        await one.close()


async def test_a_hole_is_waited_for_and_what_is_behind_it_counted_once(stores: Stores) -> None:
    await chat(stores, "g-1", "haneul", "bada")
    await say(stores, "g-1", (1, "haneul", 1.0), (3, "haneul", 1.0))
    await roll(stores)
    await say(stores, "g-1", (2, "haneul", 1.0))
    await say(stores, "g-1", (4, "haneul", 1.0))
    await roll(stores)
    await roll(stores)
    assert (await read(stores, Span.HOUR))[1].messages == 4


def test_percentiles_are_upper_bounds() -> None:
    counts = [0] * len(BOUNDS_MS)
    assert Figures(DAY, latencies=counts).percentile(0.5) is None
    counts[0], counts[3], counts[-1] = 90, 9, 1
    figures = Figures(DAY, latencies=counts)
    assert [figures.percentile(share) for share in (0.5, 0.9, 0.95, 0.99, 1.0)] == [5, 5, 50, 50, 86_400_000]
