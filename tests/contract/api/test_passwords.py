"""Choosing and changing passwords, on memory and MongoDB."""

from __future__ import annotations

import asyncio
import unicodedata
from pathlib import Path

import pytest

from adapters.stores import Stores
from api.testing import PASSWORD, Harness, running_api

FRESH = "역참마다 말을 갈아탄다"


def change(current: str, new: str) -> dict[str, str]:
    return {"current_password": current, "new_password": new}


async def test_a_changed_password_ends_the_other_sign_ins(api: Harness) -> None:
    other, own = await api.user("haneul"), await api.sign_in("haneul")
    answer = await own.call("PUT", "/v1/me/password", json=change(unicodedata.normalize("NFD", PASSWORD), FRESH))
    assert answer.status_code == 204
    assert (await own.get("/v1/me")).status_code == 200
    assert (await other.get("/v1/me")).json()["code"] == "signed_out"
    assert [told.kind for told in api.invalidations.published] == ["grant"]
    form = {"grant_type": "password", "username": "haneul", "password": PASSWORD}
    assert (await api.client.post("/v1/auth/token", data=form)).status_code == 401
    assert (await api.sign_in("haneul", unicodedata.normalize("NFD", FRESH))).tokens


async def test_what_changes_nothing(api: Harness) -> None:
    user = await api.user("haneul")
    for wish, code in [
        (change("wrong password", FRESH), "wrong_password"),
        (change("", FRESH), "wrong_password"),
        (change(PASSWORD, "password123"), "weak_password"),
        (change(PASSWORD, "haneul12"), "weak_password"),
        (change(PASSWORD, "short"), "invalid_request"),
        ({"new_password": FRESH}, "invalid_request"),
        ({**change(PASSWORD, FRESH), "user": "bada"}, "invalid_request"),
    ]:
        answer = await user.call("PUT", "/v1/me/password", json=wish)
        assert answer.json()["code"] == code
        assert FRESH not in answer.text
    assert (await api.sign_in("haneul")).tokens


async def test_weak_passwords_can_not_be_registered(api: Harness) -> None:
    for password in ("비밀번호1234", "haneul-1234", "12345678"):
        wish = {"handle": "haneul-1234", "password": password, "display_name": "김하늘"}
        answer = await api.client.post("/v1/auth/register", json=wish)
        assert (answer.status_code, answer.json()["code"]) == (422, "weak_password")
    assert await api.stores.users.get("haneul-1234") is None


async def test_of_two_changes_at_once_one_wins(api: Harness) -> None:
    user = await api.user("haneul")
    wishes = [f"{FRESH} {number}" for number in range(2)]
    answers = await asyncio.gather(
        *(user.call("PUT", "/v1/me/password", json=change(PASSWORD, wish)) for wish in wishes)
    )
    assert sorted(answer.status_code for answer in answers) == [204, 403]
    won = wishes[[answer.status_code for answer in answers].index(204)]
    assert (await api.sign_in("haneul", won)).tokens


async def test_guessing_the_current_password_is_limited(tmp_path: Path, stores: Stores) -> None:
    async with running_api(tmp_path, stores, login_lock_after=3) as api:
        user = await api.user("haneul")
        found = [(await user.call("PUT", "/v1/me/password", json=change("guess", FRESH))).status_code for _ in range(4)]
        assert found == [403, 403, 403, 429]


@pytest.mark.parametrize("passes", [1, 3])
async def test_a_hash_of_another_cost_is_made_anew_at_the_next_sign_in(
    tmp_path: Path, stores: Stores, passes: int
) -> None:
    async with running_api(tmp_path, stores) as api:
        await api.user("haneul")
    before = await stores.users.get("haneul")
    (tmp_path / "again").mkdir()
    async with running_api(tmp_path / "again", stores, argon2_passes=passes) as api:
        await api.sign_in("haneul")
        after = await stores.users.get("haneul")
        assert before is not None
        assert after is not None
        assert (before.password_hash == after.password_hash) == (passes == 1)
        assert f"t={passes}," in after.password_hash
        assert (await api.sign_in("haneul")).tokens
