"""`AdminStore`, and what keeping somebody out means to the other stores, on memory and MongoDB."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.stores import Stores
from chat.admin import AccountSearch, AccountState, ChatSearch, DeviceSearch, Exclusion, ExclusionKind
from chat.models import Chat, ChatKind, Device, Grant, Member, Role, User

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
FOREVER = Exclusion(ExclusionKind.BANNED, AT, "gwanri", "스팸")


def until(delta: timedelta) -> Exclusion:
    end = datetime.now(UTC) + delta
    return Exclusion(ExclusionKind.SUSPENDED, AT, "gwanri", "욕설 😡", end.replace(microsecond=0))


async def people(stores: Stores) -> None:
    names = {
        "bada": unicodedata.normalize("NFD", "이바다"),
        "gwanri": "관리자",
        "haneul": "김하늘 (파발)",
        "haneul2": "Sky*",
    }
    for id_, name in names.items():
        await stores.users.add(User(id_, name, "hash", AT, admin=id_ == "gwanri", disabled=id_ == "haneul2"))
    for id_, owner, off in [("dev-1", "haneul", False), ("dev-2", "haneul", True), ("dev-3", "nobody", False)]:
        await stores.devices.add(Device(id_, owner, "거실 온도계", "secret", AT, off))


async def test_who_is_kept_out_is_out_with_their_devices_until_the_end(stores: Stores) -> None:
    await people(stores)
    await kept_out(stores, FOREVER, out=True)
    await kept_out(stores, until(timedelta(hours=1)), out=True)
    await kept_out(stores, until(timedelta(hours=-1)), out=False)
    assert not await stores.admin.block("nobody", FOREVER)


async def kept_out(stores: Stores, block: Exclusion, *, out: bool) -> None:
    assert await stores.admin.block("haneul", block)
    account = await stores.admin.account("haneul")
    assert account is not None
    assert account.block == block
    assert account.state(datetime.now(UTC)) == (block.kind.value if out else AccountState.ACTIVE)
    user, device = await stores.users.get("haneul"), await stores.devices.get("dev-1")
    assert user is not None
    assert device is not None
    assert (user.disabled, device.disabled) == (out, out)
    assert await stores.users.existing(["haneul", "bada"]) == ({"bada"} if out else {"haneul", "bada"})
    assert await stores.devices.existing(["dev-1", "dev-2", "dev-3"]) == ({"dev-3"} if out else {"dev-1", "dev-3"})
    assert await stores.admin.kept_out(["haneul", "bada", "haneul2", "nobody"]) == {"haneul2"} | (
        {"haneul"} if out else set()
    )
    rows = await stores.admin.devices(DeviceSearch(owner="haneul"), limit=9)
    assert [(row.id, row.disabled) for row in rows] == [("dev-1", out), ("dev-2", True)]

    assert await stores.admin.block("haneul", None)
    assert await stores.users.existing(["haneul"]) == {"haneul"}
    assert await stores.devices.existing(["dev-1", "dev-2"]) == {"dev-1"}


async def test_devices_of_a_disabled_owner_are_out(stores: Stores) -> None:
    await people(stores)
    await stores.devices.add(Device("dev-9", "haneul2", "문", "secret", AT))
    assert await stores.devices.existing(["dev-9"]) == set()


USERS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["bada", "gwanri", "haneul", "haneul2"]),
    ({"text": "hane"}, ["haneul", "haneul2"]),
    ({"text": "하늘"}, ["haneul"]),
    ({"text": unicodedata.normalize("NFD", "하늘")}, ["haneul"]),
    ({"text": "바다"}, ["bada"]),
    ({"text": "SKY"}, ["haneul2"]),
    ({"text": "(파발"}, ["haneul"]),
    ({"text": ".*"}, []),
    ({"text": "aneul"}, []),
    ({"state": AccountState.ACTIVE}, ["bada", "gwanri"]),
    ({"state": AccountState.BANNED}, ["haneul"]),
    ({"state": AccountState.SUSPENDED}, []),
    ({"state": AccountState.DISABLED}, ["haneul2"]),
    ({"staff": True}, ["bada", "gwanri"]),
    ({"staff": False}, ["haneul", "haneul2"]),
    ({"shadowed": True}, ["haneul2"]),
    ({"shadowed": False, "text": "haneul"}, ["haneul"]),
]


async def test_search_for_users(stores: Stores) -> None:
    await people(stores)
    await stores.admin.block("haneul", FOREVER)
    await stores.admin.set_rank("bada", admin=False, moderator=True)
    await stores.admin.set_shadowed("haneul2", shadowed=True)
    for search, expected in USERS:
        found = await stores.admin.accounts(AccountSearch(**search), limit=10)
        assert [account.id for account in found] == expected, search
        behind = await stores.admin.accounts(AccountSearch(**search), after="bada", limit=1)
        assert [account.id for account in behind] == [id_ for id_ in expected if id_ > "bada"][:1], search


async def test_rank_and_shadow(stores: Stores) -> None:
    await people(stores)
    assert await stores.admin.set_rank("bada", admin=True, moderator=False)
    assert await stores.admin.set_shadowed("haneul", shadowed=True)
    assert await stores.admin.shadowed() == {"haneul"}
    user = await stores.users.get("bada")
    assert user is not None
    assert user.admin
    assert await stores.admin.set_shadowed("haneul", shadowed=False)
    assert await stores.admin.shadowed() == set()
    assert not await stores.admin.set_rank("nobody", admin=True, moderator=True)
    assert not await stores.admin.set_shadowed("nobody", shadowed=True)
    assert await stores.admin.account("nobody") is None


async def test_search_for_chats_and_devices(stores: Stores) -> None:
    await people(stores)
    for id_, kind, title in [("g-1", ChatKind.GROUP, "주말 등산"), ("g-2", ChatKind.CHANNEL, None)]:
        members = [Member(id_, user, Role.MEMBER, AT) for user in ("haneul", "bada")]
        await stores.chats.create(Chat(id_, kind, AT, "haneul", title), members)
    await stores.chats.remove_member("g-2", "bada", AT)

    async def chats(**search: Any) -> list[str]:
        return [chat.id for chat in await stores.admin.chats(ChatSearch(**search), limit=9)]

    assert await chats() == ["g-1", "g-2"]
    assert await chats(text="등산") == ["g-1"]
    assert await chats(kind=ChatKind.CHANNEL) == ["g-2"]
    assert await chats(member="bada") == ["g-1"]
    assert await chats(member="nobody") == []
    assert [chat.id for chat in await stores.admin.chats(ChatSearch(), after="g-1", limit=9)] == ["g-2"]
    assert [await stores.admin.members(chat) for chat in ("g-1", "g-2", "g-3")] == [2, 1, 0]
    assert [row.id for row in await stores.admin.devices(DeviceSearch(text="온도"), limit=2)] == ["dev-1", "dev-2"]
    assert [row.id for row in await stores.admin.devices(DeviceSearch(text="dev-3"), limit=2)] == ["dev-3"]


async def test_every_sign_in_of_a_user_ends(stores: Stores) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    for sid, user in [("s1", "haneul"), ("s2", "haneul"), ("s3", "bada")]:
        await stores.grants.add(Grant(sid, user, f"token {sid}", AT, later))
    assert sorted(await stores.grants.revoke_all("haneul", AT)) == ["s1", "s2"]
    assert await stores.grants.alive(["s1", "s2", "s3"]) == {"s3"}
    assert await stores.grants.revoke_all("haneul", AT) == []
