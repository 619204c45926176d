"""Sign-ins: listed, ended one by one or all, revoked by their tokens; on memory and MongoDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.stores import Stores
from api.testing import PASSWORD, Harness, User, running_api


async def listed(user: User) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await user.get("/v1/me/sessions")).raise_for_status().json()["items"]
    return items


async def signed_out(user: User) -> bool:
    answer = await user.get("/v1/me")
    assert answer.status_code == 200 or answer.json()["code"] == "signed_out"
    return answer.status_code == 401


async def revoke(api: Harness, token: str, **more: str) -> httpx.Response:
    return await api.client.post("/v1/auth/revoke", data={"token": token, **more})


async def test_sign_ins_are_listed_the_last_used_first(api: Harness) -> None:
    api.client.headers["user-agent"] = "phone/1.0 \u00e9"
    phone = await api.user("haneul")
    api.client.headers["user-agent"] = "x" * 500
    laptop = await api.sign_in("haneul")
    await api.user("bada")
    first, second = await listed(laptop)
    assert (first["current"], second["current"]) == (True, False)
    assert second["client"].startswith("phone/1.0")
    assert len(first["client"]) == 200
    assert (first["via"], first["address"]) == ("password", "192.0.2.1")
    form = {"grant_type": "refresh_token", "refresh_token": phone.tokens["refresh_token"]}
    phone.tokens = (await api.client.post("/v1/auth/token", data=form)).json()
    items = await listed(phone)
    assert [(item["id"], item["current"]) for item in items] == [(second["id"], True), (first["id"], False)]
    assert items[0]["used_at"] > items[0]["created_at"]


async def test_one_sign_in_is_ended_from_another(api: Harness) -> None:
    stolen, own = await api.user("haneul"), await api.sign_in("haneul")
    (target,) = [item["id"] for item in await listed(own) if not item["current"]]
    assert (await own.call("DELETE", f"/v1/me/sessions/{target}")).status_code == 204
    assert await signed_out(stolen)
    assert not await signed_out(own)
    (told,) = api.invalidations.published
    assert (told.kind, told.sid, told.user) == ("grant", target, "haneul")
    form = {"grant_type": "refresh_token", "refresh_token": stolen.tokens["refresh_token"]}
    assert (await api.client.post("/v1/auth/token", data=form)).json()["code"] == "invalid_grant"
    assert len(await listed(own)) == 1


async def test_signing_out(api: Harness) -> None:
    user = await api.user("haneul")
    assert (await user.call("DELETE", "/v1/me/sessions/current")).status_code == 204
    assert await signed_out(user)


async def test_other_peoples_sign_ins_look_like_none(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    (foreign,) = [item["id"] for item in await listed(bada)]
    (ended,) = [item["id"] for item in await listed(haneul)]
    await haneul.call("DELETE", f"/v1/me/sessions/{ended}")
    haneul = await api.sign_in("haneul")
    bodies = []
    for sid in (foreign, "0" * 32, ended, "x"):
        answer = await haneul.call("DELETE", f"/v1/me/sessions/{sid}")
        assert answer.status_code == 404
        bodies.append(answer.text.replace(sid, "…"))
    assert len(set(bodies)) == 1
    assert not await signed_out(bada)


@pytest.mark.parametrize("current", [False, True])
async def test_signing_out_everywhere(api: Harness, current: bool) -> None:
    one, other, own = await api.user("haneul"), await api.sign_in("haneul"), await api.sign_in("haneul")
    bada = await api.user("bada")
    assert (await own.call("DELETE", "/v1/me/sessions", params={"current": current})).status_code == 204
    assert [await signed_out(user) for user in (one, other, own, bada)] == [True, True, current, False]
    assert len(api.invalidations.published) == 2 + current


@pytest.mark.parametrize("which", ["refresh_token", "access_token", "spent"])
@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "nonsense"}])
async def test_a_token_revokes_its_whole_sign_in(api: Harness, which: str, hint: dict[str, str]) -> None:
    user, other = await api.user("haneul"), await api.sign_in("haneul")
    token = user.tokens["refresh_token" if which == "spent" else which]
    if which == "spent":
        form = {"grant_type": "refresh_token", "refresh_token": token}
        user.tokens = (await api.client.post("/v1/auth/token", data=form)).json()
    answer = await revoke(api, token, **hint)
    assert (answer.status_code, answer.content) == (200, b"")
    assert await signed_out(user)
    assert not await signed_out(other)
    assert [told.kind for told in api.invalidations.published] == ["grant"]


async def test_revoking_what_is_no_token_is_told_from_nothing(api: Harness) -> None:
    user = await api.user("haneul")
    for token in ("x", "하늘", "y" * 5000, user.tokens["access_token"][:-2]):
        answer = await revoke(api, token)
        assert (answer.status_code, answer.content) == (200, b"")
    missing = await api.client.post("/v1/auth/revoke", data={"token_type_hint": "refresh_token"})
    assert (missing.status_code, missing.json()["error"]) == (422, "invalid_request")
    assert not await signed_out(user)
    assert api.invalidations.published == []


async def test_the_oldest_sign_in_makes_room(tmp_path: Path, stores: Stores) -> None:
    async with running_api(tmp_path, stores, api_max_sessions=2) as api:
        users = [await api.user("haneul"), await api.sign_in("haneul"), await api.sign_in("haneul")]
        assert [await signed_out(user) for user in users] == [True, False, False]
        assert [told.kind for told in api.invalidations.published] == ["grant"]


async def test_refusals_carry_the_words_of_oauth(api: Harness) -> None:
    form = {"grant_type": "password", "username": "haneul", "password": PASSWORD}
    answer = await api.client.post("/v1/auth/token", data=form)
    assert answer.json()["error"] == answer.json()["code"] == "invalid_grant"
    assert answer.json()["error_description"] == answer.json()["detail"]
    assert (await api.client.post("/v1/auth/token", data={"grant_type": "x"})).json()[
        "error"
    ] == "unsupported_grant_type"
    assert "error" not in (await api.client.get("/v1/me")).json()
