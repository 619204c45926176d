"""Profiles, contacts, blocks: on memory and MongoDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.memory import memory_stores
from api.testing import Harness, User, running_api
from chat.envelopes import Invalidation
from chat.ids import direct_chat_id

ME = {"about": "산에 있어요 ⛰️", "avatar": "https://media.example.org/%ED%95%98%EB%8A%98.webp"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def shown(viewer: User, user: str) -> dict[str, Any]:
    answer = await viewer.get(f"/v1/users/{user}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def change(user: User, **wishes: Any) -> dict[str, Any]:
    answer = await user.call("PATCH", "/v1/me", json=wishes)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_what_i_say_of_myself(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    account = await change(haneul, **ME, display_name="김하늘 🏔️")
    assert {name: account[name] for name in ME} == ME
    assert await shown(bada, "haneul") == {"id": "haneul", "display_name": "김하늘 🏔️", **ME}
    assert (await change(haneul, avatar=None))["about"] == ME["about"]
    assert (await shown(bada, "haneul"))["avatar"] is None
    assert (await haneul.get("/v1/me")).json() == {**account, "avatar": None}


UNSAYABLE: list[dict[str, Any]] = [
    {},
    {"about": "x" * 501},
    {"about": None},
    {"display_name": ""},
    {"avatar": "http://media.example.org/a.png"},
    {"avatar": "javascript:alert(1)"},
    {"avatar": "https://"},
    {"avatar": "https://media.example.org/" + "x" * 2048},
    {"profile_for": "nobody"},
    {"reachable_by": None},
    {"hides_seen": None},
    {"about": "x", "admin": True},
    {"password_hash": "x"},
    {"disabled": True},
    {"id": "bada"},
]


async def test_what_can_not_be_said_changes_nothing(api: Harness) -> None:
    haneul = await api.user("haneul")
    before = (await haneul.get("/v1/me")).json()
    for wish in UNSAYABLE:
        assert problem(await haneul.call("PATCH", "/v1/me", json=wish)) == (422, "invalid_request")
        assert (await haneul.get("/v1/me")).json() == before


async def test_a_profile_for_contacts_only(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    await change(haneul, **ME, profile_for="contacts")
    bare = {"id": "haneul", "display_name": "haneul", "about": "", "avatar": None}
    assert await shown(bada, "haneul") == bare
    assert await shown(haneul, "haneul") == {**bare, **ME}
    await bada.call("PUT", "/v1/contacts/haneul", json={})  # that bada knows haneul says nothing of the other way
    assert await shown(bada, "haneul") == bare
    await haneul.call("PUT", "/v1/contacts/bada", json={})
    assert await shown(bada, "haneul") == {**bare, **ME}
    await haneul.call("PUT", "/v1/blocks/bada")
    assert await shown(bada, "haneul") == bare


async def test_the_profiles_of_many_at_once(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    await change(bada, **ME, profile_for="contacts")
    asked = ["haneul", "bada", "bada", "nobody", "하늘", "\0", "dev-x", "$ne"]
    answer = await haneul.call("GET", "/v1/users", params={"id": asked})
    assert answer.json() == {"items": [await shown(haneul, "bada"), await shown(haneul, "haneul")]}
    assert answer.json()["items"][0]["about"] == ""
    for wrong in ({}, {"id": ["x"] * 501}, {"id": ["x" * 65]}, {"id": ["x"], "admin": "true"}):
        assert problem(await haneul.call("GET", "/v1/users", params=wrong)) == (422, "invalid_request")


async def test_who_lets_only_contacts_come_near(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    await change(haneul, reachable_by="contacts")
    near = {"kind": "direct", "members": ["haneul"]}
    group = {"kind": "group", "members": ["cho", "haneul"]}
    for wish in (near, group):
        assert problem(await bada.post("/v1/chats", wish)) == (403, "not_reachable")
    own = (await bada.post("/v1/chats", {"kind": "group"})).json()["id"]
    add = {"members": ["cho", "haneul"]}
    assert problem(await bada.post(f"/v1/chats/{own}/members", add)) == (403, "not_reachable")
    assert [row["user"] for row in (await bada.get(f"/v1/chats/{own}/members")).json()["items"]] == ["bada"]
    assert (await cho.get("/v1/chats")).json()["items"] == []
    await haneul.call("PUT", "/v1/contacts/bada", json={})
    assert (await bada.post("/v1/chats", near)).status_code == 201
    assert (await bada.post(f"/v1/chats/{own}/members", add)).status_code == 201
    await haneul.call("DELETE", "/v1/contacts/bada")
    assert (await bada.post("/v1/chats", near)).status_code == 200  # they have it already
    assert (await haneul.post("/v1/chats", {"kind": "direct", "members": ["cho"]})).status_code == 201


async def test_contacts(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada", display_name="바다")
    first = await haneul.call("PUT", "/v1/contacts/bada", json={"name": "바다님 🌊"})
    again = await haneul.call("PUT", "/v1/contacts/bada", json={})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == {**again.json(), "name": "바다님 🌊"}
    assert (again.json()["user"], again.json()["profile"]["display_name"]) == ("bada", "바다")
    for name in ("cho", "byeol"):
        await api.user(name)
        await haneul.call("PUT", f"/v1/contacts/{name}", json={})
    page = (await haneul.get("/v1/contacts", limit=2)).json()
    assert ([row["user"] for row in page["items"]], page["next"]) == (["bada", "byeol"], "byeol")
    page = (await haneul.get("/v1/contacts", limit=2, after=page["next"])).json()
    assert ([row["user"] for row in page["items"]], page["next"]) == (["cho"], None)
    assert (await bada.get("/v1/contacts")).json() == {"items": [], "next": None}
    for _ in range(2):
        assert (await haneul.call("DELETE", "/v1/contacts/bada")).status_code == 204
    assert [row["user"] for row in (await haneul.get("/v1/contacts")).json()["items"]] == ["byeol", "cho"]


@pytest.mark.parametrize("collection", ["contacts", "blocks"])
async def test_nobody_knows_or_blocks_who_is_not_there(api: Harness, collection: str) -> None:
    haneul = await api.user("haneul")
    await haneul.post("/v1/devices", {"name": "온도계", "id": "dev-mine"})
    for name in ("nobody", "dev-mine", "svc-api", "HANEUL", "하늘", "x" * 90, "%00", "$ne"):
        answer = await haneul.call("PUT", f"/v1/{collection}/{name}", json={})
        assert problem(answer) == (404, "unknown_user"), name
        assert (await haneul.call("DELETE", f"/v1/{collection}/{name}")).status_code == 204
    assert problem(await haneul.call("PUT", f"/v1/{collection}/haneul", json={})) == (422, "yourself")
    assert (await haneul.get(f"/v1/{collection}")).json() == {"items": [], "next": None}


async def test_a_block_is_told_to_bridge_and_broker_at_once(api: Harness) -> None:
    haneul, mori = await api.user("haneul"), await api.user("mori")
    chat = direct_chat_id("haneul", "mori")
    news = [Invalidation(kind="member", chat=chat, user=user) for user in ("mori", "haneul")]
    news.append(Invalidation(kind="relation", user="mori"))
    for method, told in (("PUT", news), ("DELETE", news), ("DELETE", [])):
        api.invalidations.published.clear()
        assert (await haneul.call(method, "/v1/blocks/mori")).status_code == 204
        assert api.invalidations.published == told
    for _ in range(2):
        await haneul.call("PUT", "/v1/blocks/mori")
    (row,) = (await haneul.get("/v1/blocks")).json()["items"]
    assert row["user"] == "mori"
    assert (await mori.get("/v1/blocks")).json()["items"] == []


async def test_who_is_blocked_opens_no_chat_and_brings_me_into_none(api: Harness) -> None:
    haneul, mori = await api.user("haneul"), await api.user("mori")
    await haneul.call("PUT", "/v1/blocks/mori")
    for kind in ("direct", "group", "channel"):
        answer = await mori.post("/v1/chats", {"kind": kind, "members": ["haneul"]})
        assert problem(answer) == (403, "not_reachable")
    assert (await mori.get("/v1/chats")).json()["items"] == []
    await haneul.call("DELETE", "/v1/blocks/mori")
    assert (await mori.post("/v1/chats", {"kind": "direct", "members": ["haneul"]})).status_code == 201
    await haneul.call("PUT", "/v1/blocks/mori")
    assert (await mori.post("/v1/chats", {"kind": "direct", "members": ["haneul"]})).status_code == 200


async def test_lists_have_bounds(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), api_max_contacts=1, api_max_blocks=1) as api:
        haneul = await api.user("haneul")
        for name in ("bada", "cho"):
            await api.user(name)
        for collection in ("contacts", "blocks"):
            await haneul.call("PUT", f"/v1/{collection}/bada", json={})
            answer = await haneul.call("PUT", f"/v1/{collection}/cho", json={})
            assert problem(answer) == (409, f"too_many_{collection}")
            again = await haneul.call("PUT", f"/v1/{collection}/bada", json={})
            assert again.status_code in (200, 204)
