"""What a page needs, in one question: the same as of the stores one by one, on memory and on MongoDB."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from adapters.stores import Stores
from chat.envelopes import Body, Event
from chat.history import MAX_MOVES
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Receipt, Role

NOW = datetime.now(UTC).replace(microsecond=0)
PEOPLE = ["bada", "byeol", "haneul", "san"]


async def populate(stores: Stores, chat: str, rng: random.Random) -> None:
    """A chat with holes, somebody who has left, and a log that tells of some slots."""
    members = [Member(chat, user, Role.MEMBER, NOW) for user in PEOPLE]
    await stores.chats.create(Chat(chat, ChatKind.GROUP, NOW, "bada"), members)
    await stores.chats.remove_member(chat, "san", NOW)
    slots = sorted(rng.sample(range(1, 41), 34))
    await stores.messages.insert(
        [
            Event("message", new_message_id(), chat, seq, seq, rng.choice(PEOPLE), NOW, body=Body(text=f"{seq}번"))
            for seq in slots
        ]
    )
    moves = {(user, kind, rng.randint(1, 44)) for user in PEOPLE for kind in ("delivered", "seen") for _ in range(9)}
    await stores.receipts.append(
        [Receipt(chat, user, kind, seq, NOW + timedelta(seconds=seq)) for user, kind, seq in sorted(moves)]
    )


async def test_a_page_below_a_seq(stores: Stores) -> None:
    rng = random.Random(5)  # noqa: S311 - the same in each run
    await populate(stores, "g-1", rng)
    await populate(stores, "g-2", rng)
    (newest,) = await stores.messages.before("g-1", None, 1)
    for before, limit in [(0, 3), (1, 3), (5, 9), (20, 5), (33, 1), (41, 50), (2**53 - 1, 4)]:
        found = await stores.openings.below("g-1", members=2, before=before, limit=limit)
        assert found.events == await stores.messages.before("g-1", before, limit)
        assert found.receipts == await stores.receipts.reached("g-1", before - limit, before - 1)
        assert found.members == await stores.chats.members("g-1", limit=2)
        assert (found.newest, found.signed_in) == (newest, False)


async def test_a_chat_that_is_not_there(stores: Stores) -> None:
    found = await stores.openings.below("", members=2, before=9, limit=3)
    assert (found.members, found.newest, found.receipts, found.events) == ([], None, [], [])


@pytest.mark.parametrize("page", ["newest", "below"])
async def test_a_log_that_is_too_long_is_left_to_whoever_needs_it(stores: Stores, page: str) -> None:
    await stores.receipts.append([Receipt("g-1", f"u{n}", "seen", 5, NOW) for n in range(MAX_MOVES + 1)])
    if page == "newest":
        found = await stores.openings.opening("g-1", members=2, first=1)
    else:
        found = await stores.openings.below("g-1", members=2, before=9, limit=8)
    assert found.receipts is None
