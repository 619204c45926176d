"""`UserStore` and `DeviceStore`."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from adapters.stores import Stores
from chat.models import Device, User

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def user(id_: str, **fields: Any) -> User:
    return User(id=id_, **{"display_name": "김철수 🐎", "password_hash": "$argon2id$", "created_at": AT, **fields})


def device(id_: str, **fields: Any) -> Device:
    return Device(id=id_, **{"owner": "user1", "name": "온도계", "secret_hash": "ab" * 32, "created_at": AT, **fields})


async def test_a_handle_is_taken_once(stores: Stores) -> None:
    assert await stores.users.add(user("user1", admin=True))
    assert not await stores.users.add(user("user1", password_hash="$other$"))
    assert await stores.users.get("user1") == user("user1", admin=True)
    assert await stores.users.get("user2") is None


async def test_of_many_who_register_one_handle_one_does(stores: Stores) -> None:
    added = await asyncio.gather(*(stores.users.add(user("user1", display_name=f"{n}")) for n in range(8)))
    assert sum(added) == 1
    winner = await stores.users.get("user1")
    assert winner == user("user1", display_name=f"{added.index(True)}")


async def test_existing_leaves_out_the_disabled(stores: Stores) -> None:
    await stores.users.add(user("user1"))
    await stores.users.add(user("user2", disabled=True))
    assert await stores.users.existing(["user1", "user2", "user3", "user1"]) == {"user1"}
    assert await stores.users.existing([]) == set()
    assert await stores.users.get("user2") == user("user2", disabled=True)


async def test_existing_devices_leave_out_the_disabled(stores: Stores) -> None:
    await stores.devices.add(device("dev-a"))
    await stores.devices.add(device("dev-b", disabled=True))
    assert await stores.devices.existing(["dev-a", "dev-b", "dev-c", "dev-a"]) == {"dev-a"}
    assert await stores.devices.existing([]) == set()


async def test_devices(stores: Stores) -> None:
    assert await stores.devices.add(device("dev-b"))
    assert await stores.devices.add(device("dev-a", disabled=True))
    assert await stores.devices.add(device("dev-c", owner="user2"))
    assert not await stores.devices.add(device("dev-a", owner="user2"))
    assert await stores.devices.get("dev-a") == device("dev-a", disabled=True)
    assert await stores.devices.get("dev-x") is None
    assert await stores.devices.owned_by("user1") == [device("dev-a", disabled=True), device("dev-b")]
    assert await stores.devices.owned_by("user3") == []


async def test_who_hides_what_they_have_seen(stores: Stores) -> None:
    for id_ in ("user1", "user2"):
        await stores.users.add(user(id_))
    assert await stores.users.set_hides_seen("user1", hides=True)
    assert not await stores.users.set_hides_seen("user9", hides=True)
    assert await stores.users.get("user1") == user("user1", hides_seen=True)
    assert await stores.users.hiding(["user1", "user2", "user9"]) == {"user1"}
    assert await stores.users.hiding([]) == set()
    await stores.users.set_hides_seen("user1", hides=False)
    assert await stores.users.hiding(["user1"]) == set()


async def test_a_password_is_changed_from_what_it_is(stores: Stores) -> None:
    await stores.users.add(user("user1"))
    assert not await stores.users.set_password("user1", was="$other$", now="$new$")
    assert not await stores.users.set_password("user2", was="$argon2id$", now="$new$")
    changed = await asyncio.gather(
        *(stores.users.set_password("user1", was="$argon2id$", now=f"$new{n}$") for n in range(4))
    )
    assert sum(changed) == 1
    assert await stores.users.get("user1") == user("user1", password_hash=f"$new{changed.index(True)}$")


async def test_devices_are_changed(stores: Stores) -> None:
    await stores.devices.add(device("dev-a"))
    await stores.devices.add(device("dev-b"))
    assert await stores.devices.set_secret("dev-a", "cd" * 32)
    assert await stores.devices.update("dev-a", name="새 이름", disabled=True)
    assert await stores.devices.get("dev-a") == device("dev-a", secret_hash="cd" * 32, name="새 이름", disabled=True)
    assert await stores.devices.update("dev-a", disabled=False)
    assert await stores.devices.update("dev-a")
    assert await stores.devices.get("dev-a") == device("dev-a", secret_hash="cd" * 32, name="새 이름")
    assert await stores.devices.get("dev-b") == device("dev-b")
    assert not await stores.devices.set_secret("dev-x", "cd" * 32)
    assert not await stores.devices.update("dev-x", disabled=True)
    assert not await stores.devices.update("dev-x")


async def test_an_identity_belongs_to_one_user(stores: Stores) -> None:
    assert await stores.users.by_identity("ab" * 32) is None
    for name in ("user1", "user2"):  # none is no identity
        assert await stores.users.add(user(name))
    added = await asyncio.gather(*(stores.users.add(user(f"new{n}", identity="ab" * 32)) for n in range(4)))
    assert sum(added) == 1
    winner = f"new{added.index(True)}"
    assert (
        await stores.users.by_identity("ab" * 32) == await stores.users.get(winner) == user(winner, identity="ab" * 32)
    )
    assert await stores.users.by_identity("") is None
