"""`ReceiptStore`: when a message was delivered and seen follows from these rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adapters.stores import Stores
from chat.models import Receipt

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def row(user: str, kind: str, seq: int, *, chat: str = "g-1", at: datetime | None = None) -> Receipt:
    return Receipt(chat=chat, user=user, kind=kind, seq=seq, at=at or AT + timedelta(seconds=seq))


async def test_reached_has_what_is_within_and_the_first_behind(stores: Stores) -> None:
    within = [row("user1", "delivered", 4), row("user1", "delivered", 6), row("user2", "seen", 5)]
    behind = [row("user1", "delivered", 8), row("user2", "seen", 7), row("user3", "delivered", 9)]
    outside = [
        row("user1", "delivered", 3),
        row("user1", "delivered", 9),
        row("user2", "seen", 1),
        row("user2", "seen", 20),
        row("user3", "delivered", 10),
        row("user4", "seen", 2),
        row("user5", "seen", 5, chat="g-2"),
        row("user5", "seen", 8, chat="g-2"),
    ]
    await stores.receipts.append([*outside, *reversed(within), *behind])
    expected = sorted(within + behind, key=lambda it: (it.seq, it.kind, it.user))
    assert await stores.receipts.reached("g-1", 4, 6) == expected
    assert await stores.receipts.reached("g-1", 21, 30) == []
    assert await stores.receipts.reached("g-9", 1, 30) == []


async def test_one_watermark_can_reach_many_messages(stores: Stores) -> None:
    only = row("user1", "seen", 500)
    await stores.receipts.append([only, row("user1", "seen", 501)])
    assert await stores.receipts.reached("g-1", 1, 50) == [only]


async def test_both_kinds_of_one_user_are_apart(stores: Stores) -> None:
    both = [row("user1", "delivered", 2), row("user1", "seen", 2)]
    await stores.receipts.append(both)
    assert await stores.receipts.reached("g-1", 1, 1) == both
    assert await stores.receipts.reached("g-1", 2, 2) == both


async def test_a_row_that_is_appended_again_keeps_its_first_time(stores: Stores) -> None:
    first, second = row("user1", "seen", 2), row("user2", "seen", 2)
    await stores.receipts.append([first])
    await stores.receipts.append([row("user1", "seen", 2, at=AT + timedelta(days=1)), second])
    assert await stores.receipts.reached("g-1", 1, 2) == [first, second]


async def test_times_are_cut_to_milliseconds(stores: Stores) -> None:
    await stores.receipts.append([row("user1", "seen", 1, at=AT + timedelta(microseconds=999))])
    assert await stores.receipts.reached("g-1", 1, 1) == [row("user1", "seen", 1, at=AT)]


async def test_nothing_to_append(stores: Stores) -> None:
    await stores.receipts.append([])


async def test_a_large_chat(stores: Stores) -> None:
    rows = [row(f"user{user:03}", "seen", seq) for user in range(150) for seq in (1, 5, 9)]
    await stores.receipts.append(rows)
    reached = await stores.receipts.reached("g-1", 1, 4)
    assert [(it.seq, it.user) for it in reached] == [(seq, f"user{user:03}") for seq in (1, 5) for user in range(150)]
