"""Registration, sign-in, refresh: on memory and MongoDB."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

from api.testing import PASSWORD, Harness
from chat.envelopes import Invalidation

NFD_NAME = unicodedata.normalize("NFD", "김하늘")


@pytest.mark.parametrize(
    "name", ["김하늘", NFD_NAME, "👩🏽‍🚀 zwj", "nul\0inside", "  spaces  ", "\uff46ull", "\u202eright"]
)
async def test_display_names_come_back_as_they_came(api: Harness, name: str) -> None:
    user = await api.user("haneul", display_name=name)
    answer = (await user.get("/v1/me")).json()
    assert answer["display_name"] == name
    assert answer["id"] == "haneul"
    assert answer["admin"] is False
    assert (await (await api.user("bada")).get("/v1/users/haneul")).json() == {
        "id": "haneul",
        "display_name": name,
        "about": "",
        "avatar": None,
    }


async def test_what_registration_answers_is_what_is_stored(api: Harness) -> None:
    wish = {"handle": "haneul", "password": PASSWORD, "display_name": "김하늘"}
    answer = await api.client.post("/v1/auth/register", json=wish)
    assert answer.status_code == 201
    assert "password" not in answer.text
    assert (await (await api.sign_in("haneul")).get("/v1/me")).json() == answer.json()


async def test_a_handle_is_taken_once(api: Harness) -> None:
    await api.user("haneul")
    wish = {"handle": "haneul", "password": "another password", "display_name": "somebody else"}
    answer = await api.client.post("/v1/auth/register", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (409, "handle_taken")
    assert (await (await api.sign_in("haneul")).get("/v1/me")).json()["display_name"] == "haneul"


async def test_a_password_is_one_in_every_normal_form(api: Harness) -> None:
    await api.user("haneul")
    assert unicodedata.normalize("NFD", PASSWORD) != PASSWORD
    assert (await api.sign_in("haneul", unicodedata.normalize("NFD", PASSWORD))).tokens


async def test_wrong_passwords_and_unknown_users_get_one_answer(api: Harness) -> None:
    await api.user("haneul")
    bodies = []
    tries = [("haneul", "wrong password"), ("nobody", PASSWORD), ("하늘", PASSWORD), ("a\0b", PASSWORD)]
    for username, password in [*tries, ("haneul", PASSWORD + " "), ("svc-api", PASSWORD), ("x" * 5000, PASSWORD)]:
        form = {"grant_type": "password", "username": username, "password": password}
        answer = await api.client.post("/v1/auth/token", data=form)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        bodies.append(answer.content)
    assert len(set(bodies)) == 1


async def test_refresh_rotates(api: Harness) -> None:
    user = await api.user("haneul")
    form = {"grant_type": "refresh_token", "refresh_token": user.tokens["refresh_token"]}
    answer = await api.client.post("/v1/auth/token", data=form)
    assert answer.status_code == 200
    fresh = answer.json()
    assert fresh["refresh_token"] != user.tokens["refresh_token"]
    assert (fresh["token_type"], fresh["expires_in"], fresh["scope"]) == ("bearer", 900, "user")
    assert answer.headers["cache-control"] == "no-store"
    assert (await user.get("/v1/me")).status_code == 200  # the older access token lives on until it expires
    user.tokens = fresh
    assert (await user.get("/v1/me")).status_code == 200


async def test_a_spent_refresh_token_ends_the_family(api: Harness) -> None:
    user = await api.user("haneul")
    other_sign_in = await api.sign_in("haneul")
    spent = {"grant_type": "refresh_token", "refresh_token": user.tokens["refresh_token"]}
    fresh = (await api.client.post("/v1/auth/token", data=spent)).json()
    answer = await api.client.post("/v1/auth/token", data=spent)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_grant")
    newest = {"grant_type": "refresh_token", "refresh_token": fresh["refresh_token"]}
    assert (await api.client.post("/v1/auth/token", data=newest)).status_code == 401
    ended = await user.get("/v1/me")
    assert (ended.status_code, ended.json()["code"]) == (401, "signed_out")
    (told,) = api.invalidations.published
    assert (told.kind, told.user) == ("grant", "haneul")
    assert told.sid is not None
    assert (await other_sign_in.get("/v1/me")).status_code == 200


async def test_unknown_refresh_tokens(api: Harness) -> None:
    await api.user("haneul")
    for token in ["", "x", "하늘", "y" * 5000]:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        answer = await api.client.post("/v1/auth/token", data=form)
        assert answer.json()["code"] in {"invalid_grant", "invalid_request"}
        assert answer.status_code in {401, 422}
    assert api.invalidations.published == []


async def test_two_refreshes_at_once_leave_one_family_or_none(api: Harness) -> None:
    """Both show the same token: one of them is a thief, and it can't be told which."""
    user = await api.user("haneul")
    form = {"grant_type": "refresh_token", "refresh_token": user.tokens["refresh_token"]}
    answers = await asyncio.gather(*(api.client.post("/v1/auth/token", data=form) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 401]
    assert [told.kind for told in api.invalidations.published] == ["grant"]
    assert isinstance(api.invalidations.published[0], Invalidation)
