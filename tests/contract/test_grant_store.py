"""`GrantStore`: sign-ins, rotation of refresh tokens, and their reuse."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.stores import Stores
from chat.errors import Conflict
from chat.models import SPENT_TOKENS_KEPT, Grant

NOW = datetime.now(UTC).replace(microsecond=0)
LATER = NOW + timedelta(days=30)
USED: dict[str, Any] = {"at": NOW, "address": "192.0.2.7"}


def grant(sid: str = "s1", **fields: Any) -> Grant:
    return Grant(sid=sid, **{"user": "user1", "current": f"{sid}-0", "created_at": NOW, "expires_at": LATER, **fields})


async def test_a_token_finds_its_grant(stores: Stores) -> None:
    await stores.grants.add(grant(previous=["old"], revoked_at=NOW))
    await stores.grants.add(grant("s2"))
    assert await stores.grants.by_token("s1-0") == grant(previous=["old"], revoked_at=NOW)
    assert await stores.grants.by_token("s2-0") == grant("s2")
    assert await stores.grants.by_token("unknown") is None


@pytest.mark.parametrize("again", [grant(current="other"), grant("s2", current="s1-0")], ids=["sid", "token"])
async def test_a_grant_is_added_once(stores: Stores, again: Grant) -> None:
    await stores.grants.add(grant())
    with pytest.raises(Conflict):
        await stores.grants.add(again)
    assert await stores.grants.by_token("s1-0") == grant()


async def test_rotation_spends_the_token(stores: Stores) -> None:
    await stores.grants.add(grant())
    longer = LATER + timedelta(days=1, microseconds=1)
    assert await stores.grants.rotate("s1", spent="s1-0", fresh="s1-1", expires_at=longer, **USED)
    rotated = grant(
        current="s1-1",
        previous=["s1-0"],
        expires_at=LATER + timedelta(days=1),
        used_at=NOW,
        address="192.0.2.7",
    )
    assert await stores.grants.by_token("s1-1") == rotated
    assert await stores.grants.by_token("s1-0") == rotated
    assert not await stores.grants.rotate("s1", spent="s1-0", fresh="s1-2", expires_at=longer, **USED)
    assert not await stores.grants.rotate("s9", spent="s1-1", fresh="s1-2", expires_at=longer, **USED)
    assert await stores.grants.by_token("s1-1") == rotated


async def test_of_many_who_show_one_token_one_rotates(stores: Stores) -> None:
    await stores.grants.add(grant())
    rotated = await asyncio.gather(
        *(stores.grants.rotate("s1", spent="s1-0", fresh=f"fresh-{n}", expires_at=LATER, **USED) for n in range(8))
    )
    assert sum(rotated) == 1
    found = await stores.grants.by_token("s1-0")
    assert found is not None
    assert (found.current, found.previous) == (f"fresh-{rotated.index(True)}", ["s1-0"])


async def test_spent_tokens_are_bounded(stores: Stores) -> None:
    await stores.grants.add(grant())
    for number in range(SPENT_TOKENS_KEPT + 5):
        assert await stores.grants.rotate(
            "s1", spent=f"s1-{number}", fresh=f"s1-{number + 1}", expires_at=LATER, **USED
        )
    last = SPENT_TOKENS_KEPT + 5
    kept = [f"s1-{number}" for number in range(last - SPENT_TOKENS_KEPT, last)]
    found = await stores.grants.by_token(f"s1-{last}")
    assert found is not None
    assert (found.current, found.previous) == (f"s1-{last}", kept)
    assert await stores.grants.by_token("s1-0") is None


async def test_revocation_is_final(stores: Stores) -> None:
    await stores.grants.add(grant())
    await stores.grants.revoke("s1", NOW)
    await stores.grants.revoke("s1", LATER)
    await stores.grants.revoke("s9", NOW)
    assert await stores.grants.by_token("s1-0") == grant(revoked_at=NOW)
    assert not await stores.grants.rotate("s1", spent="s1-0", fresh="s1-1", expires_at=LATER, **USED)


async def test_alive(stores: Stores) -> None:
    past = NOW - timedelta(seconds=1)
    await stores.grants.add(grant("s1"))
    await stores.grants.add(grant("s2", revoked_at=NOW))
    await stores.grants.add(grant("s3", expires_at=past))
    assert await stores.grants.alive(["s1", "s2", "s3", "s4"]) == {"s1"}
    assert await stores.grants.alive([]) == set()
    assert not await stores.grants.rotate("s3", spent="s3-0", fresh="s3-1", expires_at=LATER, **USED)


async def test_a_grant_by_its_id(stores: Stores) -> None:
    made = grant(via="oidc:corp", client="파발/1.0", address="2001:db8::1", used_at=NOW, revoked_at=NOW)
    await stores.grants.add(made)
    assert await stores.grants.get("s1") == made
    assert await stores.grants.get("s2") is None


async def test_the_sign_ins_of_a_user_the_last_used_first(stores: Stores) -> None:
    ended = {"revoked_at": NOW, "used_at": LATER}
    expired = {"expires_at": NOW - timedelta(seconds=1), "used_at": LATER}
    for sid, fields in {"a": {}, "b": {"used_at": NOW}, "c": {"used_at": LATER}, "d": ended, "e": expired}.items():
        await stores.grants.add(grant(sid, **fields))
    await stores.grants.add(grant("f", user="user2", used_at=NOW))
    assert [one.sid for one in await stores.grants.of_user("user1", limit=9)] == ["c", "b", "a"]
    assert [one.sid for one in await stores.grants.of_user("user1", skip=1, limit=1)] == ["b"]
    assert await stores.grants.of_user("user3", limit=9) == []


async def test_all_sign_ins_of_a_user_end_but_one(stores: Stores) -> None:
    for sid in ("a", "b", "c"):
        await stores.grants.add(grant(sid))
    await stores.grants.add(grant("d", user="user2"))
    await stores.grants.add(grant("e", revoked_at=NOW - timedelta(days=1)))
    assert sorted(await stores.grants.revoke_all("user1", NOW, keep="b")) == ["a", "c"]
    assert await stores.grants.alive(["a", "b", "c", "d", "e"]) == {"b", "d"}
    assert await stores.grants.get("a") == grant("a", revoked_at=NOW)
    assert await stores.grants.revoke_all("user1", NOW) == ["b"]
    assert await stores.grants.revoke_all("user1", NOW) == []
