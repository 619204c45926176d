"""`ChatStore`: chats, memberships, watermarks (P5 and P6 hang on these answers)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.stores import Stores
from chat.models import Chat, ChatKind, Head, Member, Reach, Role, Watermarks

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def chat(id_: str = "g-1", **fields: Any) -> Chat:
    return Chat(id=id_, **{"kind": ChatKind.GROUP, "created_at": AT, "created_by": "user1", **fields})


def member(user: str, chat: str = "g-1", **fields: Any) -> Member:
    return Member(chat=chat, user=user, **{"role": Role.MEMBER, "joined_at": AT, **fields})


async def test_a_chat_is_created_with_its_members(stores: Stores) -> None:
    group = chat(title="파발 👋", last_seq=1, last_n=0, last_at=AT)
    owner = member("user1", role=Role.OWNER, joined_seq=1, muted_until=AT + timedelta(days=1))
    assert await stores.chats.create(group, [owner, member("user2")])
    assert await stores.chats.get("g-1") == group
    assert await stores.chats.members("g-1") == [owner, member("user2")]
    assert await stores.chats.create(chat("g-2", kind=ChatKind.DIRECT), [])
    assert await stores.chats.get_many(["g-1", "g-2", "g-3"]) == {
        "g-1": group,
        "g-2": chat("g-2", kind=ChatKind.DIRECT),
    }
    assert await stores.chats.get("g-3") is None
    assert await stores.chats.get_many([]) == {}


async def test_creating_a_chat_twice_changes_nothing(stores: Stores) -> None:
    assert await stores.chats.create(chat(title="first"), [member("user1")])
    assert not await stores.chats.create(chat(title="second"), [member("user2")])
    assert await stores.chats.get("g-1") == chat(title="first")
    assert await stores.chats.members("g-1") == [member("user1")]


async def test_of_many_who_create_one_chat_one_does_with_its_own_members(stores: Stores) -> None:
    async def create(number: int) -> bool:
        return await stores.chats.create(chat(title=f"{number}"), [member(f"user{number}"), member("everybody")])

    made = await asyncio.gather(*(create(number) for number in range(8)))
    (winner,) = [number for number, is_made in enumerate(made) if is_made]
    assert await stores.chats.get("g-1") == chat(title=f"{winner}")
    assert [row.user for row in await stores.chats.members("g-1")] == ["everybody", f"user{winner}"]


async def test_a_chat_whose_members_can_not_be_stored_is_not_stored(stores: Stores) -> None:
    with pytest.raises(ValueError, match="twice"):
        await stores.chats.create(chat(), [member("user1"), member("user1", role=Role.OWNER)])
    assert await stores.chats.get("g-1") is None
    assert await stores.chats.members("g-1") == []


async def test_touch_only_raises(stores: Stores) -> None:
    await stores.chats.create(chat(), [])
    await stores.chats.touch({"g-1": (Head(5, 3), AT), "g-9": (Head(1, 1), AT)})
    await stores.chats.touch({"g-1": (Head(4, 2), AT - timedelta(seconds=1))})
    assert await stores.chats.get("g-1") == chat(last_seq=5, last_n=3, last_at=AT)
    assert await stores.chats.get("g-9") is None
    await stores.chats.touch({"g-1": (Head(6, 3), AT + timedelta(microseconds=1500))})
    assert await stores.chats.get("g-1") == chat(last_seq=6, last_n=3, last_at=AT + timedelta(milliseconds=1))
    await stores.chats.touch({})


async def test_members_page_by_page(stores: Stores) -> None:
    users = [f"user{number:03}" for number in range(250)]
    await stores.chats.create(chat(), [member(user) for user in reversed(users)])
    await stores.chats.remove_member("g-1", "user001", AT)
    present = [user for user in users if user != "user001"]
    assert [row.user for row in await stores.chats.members("g-1")] == present
    assert [row.user for row in await stores.chats.members("g-1", limit=2)] == ["user000", "user002"]
    assert [row.user for row in await stores.chats.members("g-1", after="user002", limit=2)] == ["user003", "user004"]
    assert await stores.chats.members("g-1", after="user249") == []
    assert await stores.chats.members("g-1", limit=0) == []


async def test_a_membership_that_ended_is_remembered(stores: Stores) -> None:
    await stores.chats.create(chat(), [member("user1"), member("user2")])
    assert await stores.chats.remove_member("g-1", "user2", AT)
    assert not await stores.chats.remove_member("g-1", "user2", AT + timedelta(days=1))
    assert not await stores.chats.remove_member("g-1", "stranger", AT)
    assert await stores.chats.member("g-1", "user2") == member("user2", left_at=AT)
    assert await stores.chats.member("g-1", "stranger") is None
    assert [row.user for row in await stores.chats.members("g-1")] == ["user1"]
    assert await stores.chats.memberships("user2") == []


async def test_who_comes_back_keeps_the_watermarks(stores: Stores) -> None:
    await stores.chats.create(chat(), [member("user2", delivered_seq=7, seen_seq=5, seen_n=4, muted_until=AT)])
    await stores.chats.remove_member("g-1", "user2", AT)
    again = AT + timedelta(days=1)
    fresh = member("user2", role=Role.READER, joined_at=again, joined_seq=9, delivered_seq=1)
    assert await stores.chats.add_member(fresh)
    assert await stores.chats.member("g-1", "user2") == member(
        "user2", role=Role.READER, joined_at=again, joined_seq=9, delivered_seq=7, seen_seq=5, seen_n=4
    )
    assert not await stores.chats.add_member(fresh)


async def test_of_many_who_add_one_member_one_does(stores: Stores) -> None:
    await stores.chats.create(chat(), [])
    for _ in range(2):
        added = await asyncio.gather(*(stores.chats.add_member(member("user2")) for _ in range(8)))
        assert sum(added) == 1
        removed = await asyncio.gather(*(stores.chats.remove_member("g-1", "user2", AT) for _ in range(8)))
        assert sum(removed) == 1


async def test_memberships(stores: Stores) -> None:
    for id_ in ("g-3", "g-1", "g-2"):
        await stores.chats.create(chat(id_), [member("user1", id_), member("user2", id_)])
    await stores.chats.remove_member("g-2", "user1", AT)
    assert await stores.chats.memberships("user1") == [member("user1", "g-1"), member("user1", "g-3")]
    assert await stores.chats.memberships("stranger") == []
    pairs = [("g-1", "user1"), ("g-2", "user1"), ("g-2", "user2"), ("g-1", "stranger"), ("g-9", "user1")]
    assert await stores.chats.memberships_among(pairs) == {("g-1", "user1"), ("g-2", "user2")}
    assert await stores.chats.memberships_among([]) == set()


async def test_a_sweep_of_many_pairs(stores: Stores) -> None:
    await stores.chats.create(chat(), [member("user1")])
    pairs = [("g-1", f"user{number}") for number in range(60_000)]
    assert await stores.chats.memberships_among(pairs) == {("g-1", "user1")}


async def test_sharing_a_chat_takes_two_who_are_present(stores: Stores) -> None:
    await stores.chats.create(chat("g-1"), [member("user1", "g-1"), member("user2", "g-1")])
    await stores.chats.create(chat("g-2"), [member("user2", "g-2"), member("user3", "g-2")])
    share = stores.chats.share_chat
    assert await share("user1", "user2")
    assert await share("user2", "user1")
    assert not await share("user1", "user3")
    assert not await share("user1", "stranger")
    assert not await share("stranger", "user1")
    await stores.chats.remove_member("g-1", "user2", AT)
    assert not await share("user1", "user2")
    assert not await share("user2", "user1")


async def test_watermarks_only_rise(stores: Stores) -> None:
    await stores.chats.create(chat(), [member("user1"), member("user2"), member("gone")])
    await stores.chats.remove_member("g-1", "gone", AT)
    raise_watermarks = stores.chats.raise_watermarks
    await raise_watermarks([])
    await raise_watermarks(
        [
            Watermarks("g-1", "user1", delivered_seq=5, seen_seq=3, seen_n=2),
            Watermarks("g-1", "user1", delivered_seq=4, seen_seq=4, seen_n=3),
            Watermarks("g-1", "stranger", delivered_seq=5, seen_seq=5, seen_n=5),
            Watermarks("g-1", "gone", delivered_seq=5, seen_seq=5, seen_n=5),
        ]
    )
    await raise_watermarks([Watermarks("g-1", "user1", delivered_seq=1, seen_seq=1, seen_n=1)])
    assert await stores.chats.member("g-1", "user1") == member("user1", delivered_seq=5, seen_seq=4, seen_n=3)
    assert await stores.chats.member("g-1", "user2") == member("user2")
    gone = member("gone", left_at=AT, delivered_seq=5, seen_seq=5, seen_n=5)
    assert await stores.chats.member("g-1", "gone") == gone, "what they acknowledged, they had"
    assert await stores.chats.member("g-1", "stranger") is None


async def test_the_members_of_many_chats(stores: Stores) -> None:
    for id_, users in (("g-1", ("user2", "user1")), ("g-2", ("user1", "gone")), ("g-3", ("user9",)), ("g-4", ())):
        await stores.chats.create(chat(id_), [member(user, id_) for user in users])
    await stores.chats.remove_member("g-2", "gone", AT)
    assert await stores.chats.members_by_chat([]) == {}
    assert await stores.chats.members_by_chat(["g-4", "g-2", "g-1", "nowhere"]) == {
        "g-1": [member("user1"), member("user2")],
        "g-2": [member("user1", "g-2")],
    }


async def test_many_at_once_come_to_different_places(stores: Stores) -> None:
    """Also where those who come to the same place are written together."""
    users = [f"user{number}" for number in range(12)]
    await stores.chats.create(chat(), [member(user, seen_seq=2, seen_n=2, delivered_seq=2) for user in users])
    await stores.chats.create(chat("g-2"), [member(user, "g-2") for user in users])
    moves = [Watermarks("g-1", user, delivered_seq=7, seen_seq=0, seen_n=0) for user in users[:5]]
    moves += [Watermarks("g-1", user, delivered_seq=7, seen_seq=7, seen_n=6) for user in users[5:8]]
    moves += [Watermarks("g-1", user, delivered_seq=1, seen_seq=1, seen_n=1) for user in users[8:]]
    moves += [Watermarks("g-2", user, delivered_seq=3, seen_seq=0, seen_n=0) for user in users[:2]]
    moves += [Watermarks("g-2", "stranger", delivered_seq=3, seen_seq=0, seen_n=0)]
    await stores.chats.raise_watermarks(moves)
    found = {row.user: (row.delivered_seq, row.seen_seq, row.seen_n) for row in await stores.chats.members("g-1")}
    expected = [(7, 2, 2)] * 5 + [(7, 7, 6)] * 3 + [(2, 2, 2)] * 4
    assert [found[user] for user in users] == expected
    assert [row.user for row in await stores.chats.members("g-2") if row.delivered_seq == 3] == ["user0", "user1"]


async def test_what_was_seen_was_delivered(stores: Stores) -> None:
    await stores.chats.create(chat(), [member("user1")])
    await stores.chats.raise_watermarks([Watermarks("g-1", "user1", delivered_seq=1, seen_seq=6, seen_n=6)])
    assert await stores.chats.member("g-1", "user1") == member("user1", delivered_seq=6, seen_seq=6, seen_n=6)


async def test_concurrent_raises_leave_the_highest(stores: Stores) -> None:
    await stores.chats.create(chat(), [member("user1")])
    moves = [Watermarks("g-1", "user1", seq, seq // 2, seq // 3) for seq in range(60)]
    await asyncio.gather(*(stores.chats.raise_watermarks([move]) for move in reversed(moves)))
    assert await stores.chats.member("g-1", "user1") == member("user1", delivered_seq=59, seen_seq=29, seen_n=19)


async def test_a_chat_gets_another_title(stores: Stores) -> None:
    await stores.chats.create(chat(title="first"), [member("user1")])
    assert await stores.chats.rename("g-1", "주말 등산")
    assert await stores.chats.get("g-1") == chat(title="주말 등산")
    assert await stores.chats.rename("g-1", None)
    assert await stores.chats.get("g-1") == chat()
    assert not await stores.chats.rename("g-2", "nothing there")


async def test_a_member_gets_another_role(stores: Stores) -> None:
    await stores.chats.create(chat(), [member("user1"), member("user2", left_at=AT)])
    assert await stores.chats.set_role("g-1", "user1", Role.ADMIN)
    assert await stores.chats.member("g-1", "user1") == member("user1", role=Role.ADMIN)
    assert not await stores.chats.set_role("g-1", "user2", Role.ADMIN)
    assert not await stores.chats.set_role("g-1", "user3", Role.ADMIN)


async def test_who_hides_what_they_have_seen_does_so_in_all_their_chats(stores: Stores) -> None:
    for id_ in ("g-1", "g-2", "g-3"):
        rows = [member("user1", id_, left_at=AT if id_ == "g-3" else None), member("user2", id_)]
        await stores.chats.create(chat(id_), rows)
    assert await stores.chats.set_hides_seen("user1", hides=True) == ["g-1", "g-2"]
    assert [row.hides_seen for row in await stores.chats.members("g-1")] == [True, False]
    gone = await stores.chats.member("g-3", "user1")
    assert gone is not None
    assert gone.hides_seen
    await stores.chats.add_member(member("user1", "g-3"))
    assert await stores.chats.member("g-3", "user1") == member("user1", "g-3")
    await stores.chats.set_hides_seen("user1", hides=False)
    assert [row.hides_seen for row in await stores.chats.members("g-1")] == [False, False]
    assert await stores.chats.set_hides_seen("user9", hides=True) == []


async def test_how_many_have_received_and_show_that_they_have_seen(stores: Stores) -> None:
    rows = [
        member("user1", delivered_seq=5, seen_seq=5),
        member("user2", delivered_seq=5, seen_seq=4),
        member("user3", seen_seq=5),  # what was seen was delivered
        member("user4", delivered_seq=5, seen_seq=5, hides_seen=True),
        member("user5", delivered_seq=4),
        member("user6", delivered_seq=9, seen_seq=9, left_at=AT),
        member("user7", delivered_seq=9, seen_seq=9, joined_seq=5),  # came later
        member("dev-x", delivered_seq=9, seen_seq=9),
    ]
    await stores.chats.create(chat(), rows)
    await stores.chats.create(chat("g-2"), [member("user1", "g-2", delivered_seq=9)])
    reach = await stores.chats.reached("g-1", 5)
    assert (reach.delivered, reach.seen) == (4, 2)
    await stores.chats.remove_member("g-1", "user1", AT)
    await stores.chats.add_member(member("user6"))
    reach = await stores.chats.reached("g-1", 5)
    assert (reach.delivered, reach.seen) == (4, 2)
    assert await stores.chats.reached("g-9", 5) == Reach()


async def test_how_far_everybody_is(stores: Stores) -> None:
    rows = [
        member("user1", delivered_seq=9, seen_seq=4),
        member("user2", delivered_seq=3, seen_seq=6, hides_seen=True),  # what was seen was delivered
        member("user3", joined_seq=5),  # came later: does not count for what was before
        member("user4", joined_seq=7),
        member("user5", left_at=AT),
        member("dev-x"),
    ]
    await stores.chats.create(chat(), rows)
    reaches = {seq: await stores.chats.reached("g-1", seq) for seq in (3, 5, 6, 9)}
    assert {seq: (reach.all_delivered, reach.all_seen) for seq, reach in reaches.items()} == {
        3: (3, 3),
        5: (5, 4),
        6: (5, 4),
        9: (5, 4),
    }


async def test_what_is_cleared_is_ones_own_and_only_rises(stores: Stores) -> None:
    for name in ("g-1", "g-2", "g-3"):
        await stores.chats.create(chat(name), [member("user1", name), member("user2", name)])
    for seq in (5, 3):
        await stores.chats.clear("g-1", "user1", seq)
    await stores.chats.clear("g-2", "user2", 7)
    await stores.chats.clear("g-1", "stranger", 7)
    asked = ["g-1", "g-2", "g-3", "g-4"]
    assert await stores.chats.cleared("user1", asked) == {"g-1": 5}
    assert await stores.chats.cleared("user2", asked) == {"g-2": 7}
    assert await stores.chats.cleared("stranger", asked) == {}
    assert await stores.chats.cleared("user1", []) == {}


async def test_every_membership_page_by_page(stores: Stores) -> None:
    rows = [member(user, id_) for id_ in ("g-1", "g-10", "g-2") for user in ("dev-x", "user1", "user2")]
    rows[4].left_at = AT
    for id_ in ("g-1", "g-10", "g-2"):
        await stores.chats.create(chat(id_), [row for row in rows if row.chat == id_])
    found: list[Member] = []
    while page := await stores.chats.scan(after=(found[-1].chat, found[-1].user) if found else ("", ""), limit=4):
        found += page
    assert found == rows
