"""Contacts, blocks, links, requests, and changes of several memberships at once: on memory and MongoDB."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from adapters.stores import Stores
from chat.errors import Conflict, NotFound
from chat.events import System
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Circle, Head, Member, Notice, Role, User
from chat.people import Block, Contact, InvitationLink, JoinRequest, Place

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def member(user: str, chat: str = "g-1", **fields: Any) -> Member:
    return Member(chat=chat, user=user, **{"role": Role.MEMBER, "joined_at": AT, **fields})


async def group(stores: Stores, *rows: Member, chat: str = "g-1", kind: ChatKind = ChatKind.GROUP) -> None:
    assert await stores.chats.create(Chat(chat, kind, AT, "user1"), list(rows))


def link(id_: str = "inv-1", chat: str = "g-1", **fields: Any) -> InvitationLink:
    made = {"token_hash": f"hash-{id_}", "role": Role.MEMBER, "created_by": "user1", "created_at": NOW}
    return InvitationLink(id=id_, chat=chat, **{**made, "expires_at": NOW + DAY, **fields})


async def present(stores: Stores, chat: str = "g-1") -> dict[str, Role]:
    return {row.user: row.role for row in await stores.chats.members(chat)}


# ---- contacts and blocks


async def test_contacts(stores: Stores) -> None:
    contacts = stores.contacts
    assert await contacts.put(Contact("haneul", "bada", AT, "바다님 🌊")) == (
        Contact("haneul", "bada", AT, "바다님 🌊"),
        True,
    )
    assert await contacts.put(Contact("haneul", "bada", AT + DAY, None)) == (Contact("haneul", "bada", AT), False)
    for user in ("byeol", "bom", "cho"):
        await contacts.put(Contact("haneul", user, AT))
    await contacts.put(Contact("bada", "haneul", AT))
    assert [row.user for row in await contacts.page("haneul", limit=9)] == ["bada", "bom", "byeol", "cho"]
    assert [row.user for row in await contacts.page("haneul", after="bada", limit=2)] == ["bom", "byeol"]
    assert await contacts.page("haneul", limit=0) == []
    assert (await contacts.count("haneul"), await contacts.count("nobody")) == (4, 0)
    asked = [("haneul", "bada"), ("bada", "haneul"), ("cho", "haneul")]
    assert await contacts.among(asked) == {("haneul", "bada"), ("bada", "haneul")}
    assert await contacts.among([]) == set()
    assert await contacts.drop("haneul", "bada")
    assert not await contacts.drop("haneul", "bada")
    assert await contacts.among(asked) == {("bada", "haneul")}


async def test_blocks(stores: Stores) -> None:
    blocks = stores.blocks
    assert await blocks.put(Block("haneul", "mori", AT))
    assert not await blocks.put(Block("haneul", "mori", AT + DAY))
    await blocks.put(Block("haneul", "bada", AT))
    assert await blocks.page("haneul", limit=9) == [Block("haneul", "bada", AT), Block("haneul", "mori", AT)]
    assert await blocks.page("haneul", after="bada", limit=1) == [Block("haneul", "mori", AT)]
    assert await blocks.count("haneul") == 2
    assert await blocks.among([("haneul", "mori"), ("mori", "haneul")]) == {("haneul", "mori")}
    assert await blocks.among([]) == set()
    assert await blocks.drop("haneul", "mori")
    assert not await blocks.drop("haneul", "mori")


async def test_profiles(stores: Stores) -> None:
    user = User("haneul", "김하늘", "hash", AT, about="산 ⛰️", avatar="https://x/y", reachable_by=Circle.CONTACTS)
    await stores.users.add(user)
    await stores.users.add(User("bada", "바다", "hash", AT, disabled=True))
    assert await stores.users.get("haneul") == user
    assert set(await stores.users.get_many(["haneul", "bada", "nobody"])) == {"haneul", "bada"}
    assert await stores.users.get_many([]) == {}
    assert await stores.users.set_profile("haneul", {"about": "", "avatar": None, "profile_for": "contacts"})
    assert await stores.users.get("haneul") == User(
        "haneul", "김하늘", "hash", AT, profile_for=Circle.CONTACTS, reachable_by=Circle.CONTACTS
    )
    assert not await stores.users.set_profile("nobody", {"about": "?"})
    assert await stores.users.set_profile("haneul", {})


# ---- coming


async def test_many_join_at_once_or_none(stores: Stores) -> None:
    await group(stores, member("user1"), member("user2", left_at=AT, removed_by="user1", pinned_at=AT, seen_seq=3))
    join = stores.memberships.join
    fresh = [member("user2", role=Role.READER, joined_at=AT + DAY), member("user1"), member("user3")]
    assert await join(fresh, most=3) == ["user2", "user3"]
    assert await stores.chats.member("g-1", "user2") == member(
        "user2", role=Role.READER, joined_at=AT + DAY, seen_seq=3
    )
    with pytest.raises(Conflict) as refused:
        await join([member("user4"), member("user5")], most=4)
    assert refused.value.code == "too_many_members"
    assert set(await present(stores)) == {"user1", "user2", "user3"}
    assert await join([member("user1")], most=1) == []
    assert await join([], most=0) == []


async def test_of_many_who_bring_the_same_people_in_each_is_brought_once(stores: Stores) -> None:
    await group(stores, member("user1"))
    rows = [[member("user2"), member("user3"), member(f"friend{k}")] for k in range(6)]
    added = await asyncio.gather(*(stores.memberships.join(some, most=100) for some in rows))
    everybody = sorted(user for users in added for user in users)
    assert everybody == sorted(["user2", "user3", *(f"friend{k}" for k in range(6))])


async def test_links(stores: Stores) -> None:
    store = stores.invitations
    old = link("inv-2", created_at=NOW - DAY, max_uses=3, approval=True)
    for made in (link(), old, link("inv-3", expires_at=NOW - DAY), link("inv-4", "g-2")):
        await store.add(made)
    assert await store.by_token("hash-inv-2") == old
    assert await store.by_token("hash-inv-9") is None
    assert await store.of_chat("g-1", now=NOW, limit=9) == [link(), old]
    assert await store.of_chat("g-1", now=NOW, limit=1) == [link()]
    assert await store.revoke("g-1", "inv-1", NOW)
    assert await store.revoke("g-1", "inv-1", NOW + DAY)
    assert not await store.revoke("g-1", "inv-4", NOW)
    assert not await store.revoke("g-1", "inv-9", NOW)
    assert await store.by_token("hash-inv-1") == link(revoked_at=NOW)
    assert await store.of_chat("g-1", now=NOW, limit=9) == [old]


@pytest.mark.parametrize(
    "ended", [{"revoked_at": NOW}, {"expires_at": NOW - DAY}, {"max_uses": 2, "uses": 2}], ids=",".join
)
async def test_by_a_link_that_has_ended_nobody_comes_and_nothing_is_left_half(
    stores: Stores, ended: dict[str, Any]
) -> None:
    await group(stores, member("user1"))
    await stores.invitations.add(link(**ended))
    with pytest.raises(NotFound) as refused:
        await stores.memberships.accept("inv-1", member("user2"), now=NOW, most=9)
    assert refused.value.code == "unknown_invitation"
    with pytest.raises(NotFound):
        await stores.invitations.ask(JoinRequest("g-1", "user2", "inv-1", Role.MEMBER, NOW), now=NOW, most=9)
    assert set(await present(stores)) == {"user1"}
    assert await stores.invitations.requests("g-1", limit=9) == []
    assert await stores.invitations.by_token("hash-inv-1") == link(**ended)


async def test_of_many_who_come_by_a_link_for_few_exactly_so_many_come(stores: Stores) -> None:
    await group(stores, member("user1"))
    await stores.invitations.add(link(max_uses=3))

    async def come(user: str) -> bool:
        try:
            return await stores.memberships.accept("inv-1", member(user), now=NOW, most=99)
        except NotFound:
            return False

    users = [f"guest{number}" for number in range(12)]
    came = await asyncio.gather(*(come(user) for user in users))
    assert set(await present(stores)) == {"user1", *(u for u, yes in zip(users, came, strict=True) if yes)}
    assert sum(came) == 3
    assert await stores.invitations.by_token("hash-inv-1") == link(max_uses=3, uses=3)


async def test_who_comes_twice_is_counted_once(stores: Stores) -> None:
    await group(stores, member("user1"))
    await stores.invitations.add(link())
    twice = await asyncio.gather(
        *(stores.memberships.accept("inv-1", member("user2"), now=NOW, most=9) for _ in range(4))
    )
    assert sorted(twice) == [False, False, False, True]
    assert await stores.invitations.by_token("hash-inv-1") == link(uses=1)
    with pytest.raises(Conflict):
        await stores.memberships.accept("inv-1", member("user3"), now=NOW, most=2)
    assert await stores.invitations.by_token("hash-inv-1") == link(uses=1)


async def test_requests(stores: Stores) -> None:
    await group(stores, member("user1"))
    await stores.invitations.add(link(max_uses=3))
    store = stores.invitations

    async def ask(user: str, most: int = 9) -> bool:
        return await store.ask(JoinRequest("g-1", user, "inv-1", Role.READER, NOW), now=NOW, most=most)

    assert sorted(await asyncio.gather(*(ask("user2") for _ in range(4)))) == [False, False, False, True]
    with pytest.raises(Conflict) as refused:
        await ask("user3", most=1)
    assert refused.value.code == "too_many_requests"
    assert await ask("user3")
    assert [row.user for row in await store.requests("g-1", limit=9)] == ["user2", "user3"]
    assert [row.user for row in await store.requests("g-1", after="user2", limit=9)] == ["user3"]
    assert await store.request("g-1", "user2") == JoinRequest("g-1", "user2", "inv-1", Role.READER, NOW)
    assert [row.chat for row in await store.requests_of("user2", limit=9)] == ["g-1"]
    assert await store.withdraw("g-1", "user3")
    assert not await store.withdraw("g-1", "user3")
    fresh = member("user2", role=Role.READER)
    assert sorted(await asyncio.gather(*(stores.memberships.approve(fresh, most=9) for _ in range(3)))) == [
        False,
        False,
        True,
    ]
    assert await store.request("g-1", "user2") is None
    assert await present(stores) == {"user1": Role.MEMBER, "user2": Role.READER}
    assert await ask("user4")
    with pytest.raises(Conflict):
        await stores.memberships.approve(member("user4"), most=2)
    assert await store.request("g-1", "user4") is not None
    assert await store.by_token("hash-inv-1") == link(max_uses=3, uses=3)


# ---- going


async def test_nobody_takes_out_the_owner_or_gives_them_a_role(stores: Stores) -> None:
    await group(stores, member("user1", role=Role.OWNER), member("user2"))
    assert await stores.memberships.remove("g-1", "user2", AT, by="user1")
    assert await stores.chats.member("g-1", "user2") == member("user2", left_at=AT, removed_by="user1")
    assert not await stores.memberships.remove("g-1", "user2", AT, by="user1")
    assert not await stores.memberships.remove("g-1", "user1", AT, by="user3")
    assert not await stores.chats.set_role("g-1", "user1", Role.READER)
    assert await present(stores) == {"user1": Role.OWNER}


async def test_the_oldest_admin_inherits_else_the_oldest_member(stores: Stores) -> None:
    await group(
        stores,
        member("owner", role=Role.OWNER, joined_at=AT),
        member("dev-old", joined_at=AT - DAY),
        member("reader", role=Role.READER, joined_at=AT - DAY),
        member("admin2", role=Role.ADMIN, joined_at=AT + 2 * DAY),
        member("admin1", role=Role.ADMIN, joined_at=AT + DAY),
        member("gone", role=Role.ADMIN, joined_at=AT, left_at=AT),
        member("old", joined_at=AT),
        member("new", joined_at=AT + DAY),
    )
    leave = stores.memberships.leave
    assert await leave("g-1", "new", AT) == (True, None)
    assert await leave("g-1", "new", AT) == (False, None)
    assert await leave("g-1", "stranger", AT) == (False, None)
    assert await leave("g-1", "owner", AT) == (True, "admin1")
    assert (await present(stores))["admin1"] is Role.OWNER
    assert await leave("g-1", "admin1", AT) == (True, "admin2")
    assert await leave("g-1", "admin2", AT) == (True, "old")
    with pytest.raises(Conflict) as refused:
        await leave("g-1", "old", AT)
    assert refused.value.code == "no_successor"
    assert await present(stores) == {"dev-old": Role.MEMBER, "old": Role.OWNER, "reader": Role.READER}


async def test_the_last_one_closes_the_door(stores: Stores) -> None:
    await group(stores, member("user1", role=Role.OWNER), member("dev-x"))
    await group(stores, chat="g-2")
    for made in (link(), link("inv-2", "g-2")):
        await stores.invitations.add(made)
    await stores.invitations.ask(JoinRequest("g-1", "user2", "inv-1", Role.MEMBER, NOW), now=NOW, most=9)
    assert await stores.memberships.leave("g-1", "user1", NOW) == (True, None)
    assert await stores.invitations.of_chat("g-1", now=NOW, limit=9) == []
    assert await stores.invitations.requests("g-1", limit=9) == []
    assert await stores.invitations.of_chat("g-2", now=NOW, limit=9) == [link("inv-2", "g-2")]


async def test_when_all_leave_at_once_there_is_an_owner_to_the_end(stores: Stores) -> None:
    users = [f"user{number}" for number in range(6)]
    await group(stores, *(member(user, role=Role.OWNER if user == "user0" else Role.MEMBER) for user in users))
    await asyncio.gather(*(stores.memberships.leave("g-1", user, AT) for user in users[:4]))
    left = await present(stores)
    assert set(left) == set(users[4:])
    assert sorted(left.values()) == [Role.MEMBER, Role.OWNER]


async def test_handing_over(stores: Stores) -> None:
    await group(stores, member("user1", role=Role.OWNER), member("user2"), member("user3", left_at=AT))
    hand_over = stores.memberships.hand_over
    assert not await hand_over("g-1", "user2", "user1")
    assert not await hand_over("g-1", "user1", "user3")
    assert not await hand_over("g-1", "user1", "stranger")
    assert await present(stores) == {"user1": Role.OWNER, "user2": Role.MEMBER}
    assert sorted(await asyncio.gather(*(hand_over("g-1", "user1", "user2") for _ in range(3)))) == [False, False, True]
    assert await present(stores) == {"user1": Role.ADMIN, "user2": Role.OWNER}


async def test_what_is_told_of_a_change_is_stored_with_it_or_not_at_all(stores: Stores) -> None:
    await group(stores, member("user1", role=Role.OWNER), member("user2"), member("user3"))
    await stores.invitations.add(link(max_uses=1))
    memberships = stores.memberships

    def note(what: Literal["joined", "left", "role"], *users: str) -> Notice:
        return Notice(new_message_id(), "g-1", System(what, "user1", list(users)), AT)

    async def noted() -> list[tuple[str, list[str]]]:
        found = await stores.notices.of_chat("g-1", 99)
        for one in found:
            await stores.notices.drop(one)
        return sorted((one.system.what, one.system.users) for one in found)

    await memberships.join([member("user2"), member("user4"), member("user5")], most=9, notice=note("joined"))
    assert await noted() == [("joined", ["user4", "user5"])]
    assert await memberships.accept("inv-1", member("user6"), now=NOW, most=9, notice=note("joined"))
    assert await noted() == [("joined", ["user6"])]
    assert await memberships.remove("g-1", "user6", AT, by="user1", notice=note("left", "user6"))
    assert await memberships.leave("g-1", "user5", AT, notice=note("left", "user5"), inherits=note("role")) == (
        True,
        None,
    )
    assert await noted() == [("left", ["user5"]), ("left", ["user6"])]
    assert await memberships.hand_over("g-1", "user1", "user2", notices=[note("role", "user2"), note("role", "user1")])
    assert await noted() == [("role", ["user1"]), ("role", ["user2"])]
    assert (await memberships.leave("g-1", "user2", AT, notice=note("left", "user2"), inherits=note("role")))[0]
    assert await noted() == [("left", ["user2"]), ("role", ["user1"])]

    await memberships.join([member("user1")], most=9, notice=note("joined"))
    with pytest.raises(NotFound):
        await memberships.accept("inv-1", member("user7"), now=NOW, most=9, notice=note("joined"))
    with pytest.raises(Conflict):
        await memberships.join([member("user8")], most=1, notice=note("joined"))
    assert not await memberships.remove("g-1", "user1", AT, by="user3", notice=note("left"))
    assert not (await memberships.leave("g-1", "user2", AT, notice=note("left"), inherits=note("role")))[0]
    assert not await memberships.hand_over("g-1", "user1", "user2", notices=[note("role")])
    assert not await memberships.approve(member("user9"), most=9, notice=note("joined"))
    assert await noted() == []


# ---- the member's own


async def test_arranging_a_chat(stores: Stores) -> None:
    await group(stores, member("user1"), member("user2", left_at=AT))
    arrange = stores.memberships.arrange
    assert await arrange("g-1", "user1", {"muted_until": AT + DAY, "pinned_at": AT})
    assert await arrange("g-1", "user1", {"archived_at": AT, "pinned_at": None})
    assert await stores.chats.member("g-1", "user1") == member("user1", muted_until=AT + DAY, archived_at=AT)
    assert await arrange("g-1", "user1", {})
    assert not await arrange("g-1", "user2", {"pinned_at": AT})
    assert not await arrange("g-1", "user2", {})


async def test_the_places_of_a_list(stores: Stores) -> None:
    await group(stores, member("user1", pinned_at=AT), member("user2"))
    await group(stores, member("user1", "g-2", archived_at=AT + DAY), chat="g-2")
    await group(stores, member("user1", "g-3", left_at=AT), chat="g-3")
    await stores.chats.touch({"g-2": (Head(1, 1), AT + DAY)})
    memberships = stores.memberships
    assert await memberships.places("user1") == [Place("g-1", AT, pinned_at=AT), Place("g-2", AT + DAY, None, AT + DAY)]
    assert await memberships.places("nobody") == []
    assert await memberships.of_user("user1", ["g-1", "g-3", "g-9"]) == {"g-1": member("user1", pinned_at=AT)}
    assert await memberships.of_user("user1", []) == {}
    assert await memberships.among("g-1", ["user2", "nobody"]) == {"user2": member("user2")}
    assert await memberships.among("g-1", []) == {}
    assert await memberships.pairs(["g-1", "g-9"]) == {"g-1": ["user1", "user2"]}
    assert await memberships.pairs([]) == {}
    assert (await memberships.count("g-1"), await memberships.count("g-9")) == (2, 0)


async def test_hiding_what_one_has_seen_everywhere_at_once(stores: Stores) -> None:
    await stores.users.add(User("user1", "", "", AT))
    await group(stores, member("user1"), member("user2"))
    await group(stores, member("user1", "g-2", left_at=AT), chat="g-2")
    assert await stores.memberships.set_hides_seen("user1", hides=True) == ["g-1"]
    assert await stores.users.hiding(["user1"]) == {"user1"}
    assert [row.hides_seen for row in await stores.chats.members("g-1")] == [True, False]
    gone = await stores.chats.member("g-2", "user1")
    assert gone is not None
    assert gone.hides_seen
    assert await stores.memberships.set_hides_seen("user1", hides=False) == ["g-1"]
    assert await stores.users.hiding(["user1"]) == set()
