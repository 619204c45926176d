"""Which sign-ins hold: asked by themselves and with a chat's newest page, on memory and on MongoDB."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adapters.stores import Stores
from chat.admin import Exclusion, ExclusionKind
from chat.models import Grant, User
from chat.sign_ins import SignIn

NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=1)
ALL: list[SignIn] = [
    ("alive", "haneul"),
    ("ended", "haneul"),
    ("expired", "haneul"),
    ("disabled", "bada"),
    ("banned", "gangmul"),
    ("unknown", "haneul"),
    ("alive", "nobody"),
    ("no such", "no such"),
]


async def test_a_sign_in_holds_as_long_as_neither_it_nor_its_user_has_ended(stores: Stores) -> None:
    await stores.users.add(User("haneul", "김하늘", "-", NOW))
    await stores.users.add(User("bada", "바다", "-", NOW, disabled=True))
    await stores.users.add(User("gangmul", "강물", "-", NOW))
    await stores.admin.block("gangmul", Exclusion(ExclusionKind.BANNED, NOW, "gwanri", "도배"))
    await stores.grants.add(Grant("alive", "haneul", "t1", NOW, LATER))
    await stores.grants.add(Grant("ended", "haneul", "t2", NOW, LATER, revoked_at=NOW))
    await stores.grants.add(Grant("expired", "haneul", "t3", NOW, NOW - timedelta(seconds=1)))
    await stores.grants.add(Grant("disabled", "bada", "t4", NOW, LATER))
    await stores.grants.add(Grant("banned", "gangmul", "t5", NOW, LATER))
    assert await stores.sign_ins.holding(ALL) == {("alive", "haneul")}
    assert await stores.sign_ins.holding([]) == set()
    for one in ALL:
        opening = await stores.openings.opening("g-1", members=3, first=1, sign_in=one)
        assert opening.signed_in == (one == ("alive", "haneul")), one
    assert not (await stores.openings.opening("g-1", members=3, first=1)).signed_in, "nobody was asked about"


async def test_it_ends_at_once(stores: Stores) -> None:
    await stores.users.add(User("haneul", "김하늘", "-", NOW))
    mine: SignIn = ("s1", "haneul")
    await stores.grants.add(Grant("s1", "haneul", "t1", NOW, LATER))
    assert await stores.sign_ins.holding([mine]) == {mine}
    await stores.grants.revoke("s1", NOW)
    assert await stores.sign_ins.holding([mine]) == set()
    assert not (await stores.openings.opening("g-1", members=3, first=1, sign_in=mine)).signed_in
