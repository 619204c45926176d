"""Channels, owners, links, requests to join: on memory and MongoDB."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from adapters.memory import memory_stores
from api.clock import now
from api.testing import Harness, User, running_api
from chat.envelopes import Invalidation
from chat.ids import new_message_id


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def opened(owner: User, *members: str, kind: str = "group") -> str:
    answer = await owner.post("/v1/chats", {"kind": kind, "title": "주말 등산", "members": list(members)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def roles(user: User, chat: str) -> dict[str, str]:
    answer = await user.get(f"/v1/chats/{chat}/members")
    assert answer.status_code == 200, answer.text
    return {row["user"]: row["role"] for row in answer.json()["items"]}


async def told(user: User, chat: str) -> list[dict[str, Any]]:
    """What the chat was told."""
    items = (await user.get(f"/v1/chats/{chat}/messages")).json()["items"]
    return [item["system"] for item in items if item["type"] == "system"]


async def writes(user: User, chat: str) -> httpx.Response:
    return await user.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": "안녕하세요"}})


async def link(user: User, chat: str, **wish: Any) -> dict[str, Any]:
    answer = await user.post(f"/v1/chats/{chat}/invitations", wish)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def accept(user: User, made: dict[str, Any]) -> httpx.Response:
    return await user.post("/v1/invitations/accept", {"token": made["token"]})


# ---- channels


async def test_in_a_channel_those_who_are_let_write_and_the_others_read(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await opened(haneul, "bada", kind="channel")
    path = f"/v1/chats/{chat}/members"
    await haneul.post(path, {"members": ["cho"], "role": "member"})
    assert await roles(bada, chat) == {"bada": "reader", "cho": "member", "haneul": "owner"}
    assert (await haneul.get(f"/v1/chats/{chat}")).json()["kind"] == "channel"
    assert [(await writes(user, chat)).status_code for user in (haneul, cho)] == [201, 201]
    assert problem(await writes(bada, chat)) == (403, "read_only")
    assert len((await bada.get(f"/v1/chats/{chat}/messages")).json()["items"]) == 3
    dan = await api.user("dan")
    assert (await haneul.post(path, {"members": ["dan"]})).json()["items"][0]["role"] == "reader"
    assert problem(await writes(dan, chat)) == (403, "read_only")
    await haneul.call("PATCH", f"{path}/bada", json={"role": "admin"})
    assert (await writes(bada, chat)).status_code == 201


# ---- owners


async def test_an_owner_who_leaves_is_inherited_from(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await opened(haneul, "bada", "cho")
    await haneul.call("PATCH", f"/v1/chats/{chat}/members/cho", json={"role": "admin"})
    api.invalidations.published.clear()
    assert (await haneul.call("DELETE", f"/v1/chats/{chat}/members/haneul")).status_code == 204
    assert api.invalidations.published == [
        Invalidation(kind="member", chat=chat, user="haneul"),
        Invalidation(kind="member", chat=chat, user="cho"),
    ]
    assert await roles(bada, chat) == {"bada": "member", "cho": "owner"}
    assert (await told(bada, chat))[-2:] == [
        {"what": "left", "by": "haneul", "users": ["haneul"]},
        {"what": "role", "by": "haneul", "users": ["cho"], "role": "owner"},
    ]
    assert problem(await haneul.get(f"/v1/chats/{chat}")) == (404, "unknown_chat")
    assert (await cho.call("DELETE", f"/v1/chats/{chat}/members/bada")).status_code == 204
    assert (await cho.call("DELETE", f"/v1/chats/{chat}/members/cho")).status_code == 204
    assert (await cho.get("/v1/chats")).json()["items"] == []


async def test_an_owner_of_readers_hands_over_first(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await opened(haneul, "bada", kind="channel")
    answer = await haneul.call("DELETE", f"/v1/chats/{chat}/members/haneul")
    assert problem(answer) == (409, "no_successor")
    assert await roles(bada, chat) == {"bada": "reader", "haneul": "owner"}
    assert (await haneul.call("PUT", f"/v1/chats/{chat}/owner", json={"user": "bada"})).status_code == 200
    assert (await haneul.call("DELETE", f"/v1/chats/{chat}/members/haneul")).status_code == 204
    assert await roles(bada, chat) == {"bada": "owner"}


async def test_handing_over(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    device = (await haneul.post("/v1/devices", {"name": "온도계"})).json()["id"]
    chat = await opened(haneul, "bada", "cho", device)
    path = f"/v1/chats/{chat}/owner"
    for user, heir, expected in [
        (bada, "bada", (403, "not_a_manager")),
        (bada, "cho", (403, "not_a_manager")),
        (haneul, "haneul", (403, "not_a_manager")),
        (haneul, device, (403, "not_a_manager")),
        (haneul, "nobody", (404, "unknown_member")),
        (haneul, "안녕", (404, "unknown_member")),
        (haneul, "", (404, "unknown_member")),
    ]:
        assert problem(await user.call("PUT", path, json={"user": heir})) == expected
    api.invalidations.published.clear()
    answer = await haneul.call("PUT", path, json={"user": "bada"})
    assert {row["user"]: row["role"] for row in answer.json()["items"]} == {"haneul": "admin", "bada": "owner"}
    assert [news.user for news in api.invalidations.published] == ["haneul", "bada"]
    assert await told(cho, chat) == [
        {"what": "role", "by": "haneul", "users": ["bada"], "role": "owner"},
        {"what": "role", "by": "haneul", "users": ["haneul"], "role": "admin"},
    ]
    assert problem(await haneul.call("PUT", path, json={"user": "cho"})) == (403, "not_a_manager")
    assert problem(await haneul.call("DELETE", f"/v1/chats/{chat}/members/bada")) == (403, "not_a_manager")
    direct = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    answer = await haneul.call("PUT", f"/v1/chats/{direct}/owner", json={"user": "bada"})
    assert problem(answer) == (403, "fixed_members")


# ---- links


async def test_coming_by_a_link(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await opened(haneul, "cho")
    await writes(haneul, chat)
    made = await link(haneul, chat, max_uses=1)
    assert (made["uses"], made["max_uses"], made["role"], made["created_by"]) == (0, 1, "member", "haneul")
    where = (await bada.post("/v1/invitations/preview", {"token": made["token"]})).json()
    assert {name: where[name] for name in ("chat", "kind", "title", "members", "present")} == {
        "chat": chat,
        "kind": "group",
        "title": "주말 등산",
        "members": 2,
        "present": False,
    }
    api.invalidations.published.clear()
    api.link.sent.clear()
    first, again = await accept(bada, made), await accept(bada, made)
    assert (first.status_code, again.status_code) == (201, 200)
    assert (first.json()["id"], first.json()["unread"], first.json()["role"]) == (chat, 0, "member")
    assert api.invalidations.published == [Invalidation(kind="member", chat=chat, user="bada")]
    assert [topic for topic, _ in api.link.sent] == [f"chats/{chat}/send/svc-api"]  # nobody invited them
    assert await told(cho, chat) == [{"what": "joined", "by": "bada", "users": ["bada"], "role": "member"}]
    assert (await writes(bada, chat)).status_code == 201
    dan = await api.user("dan")
    assert problem(await accept(dan, made)) == (404, "unknown_invitation")
    assert problem(await dan.post("/v1/invitations/preview", {"token": made["token"]})) == (404, "unknown_invitation")
    assert (await haneul.get(f"/v1/chats/{chat}/invitations")).json()["items"] == []


async def test_a_token_is_shown_once_and_stored_nowhere(api: Harness) -> None:
    haneul = await api.user("haneul")
    chat = await opened(haneul)
    made = await link(haneul, chat)
    token = made.pop("token")
    assert (await haneul.get(f"/v1/chats/{chat}/invitations")).json() == {"items": [made]}
    found = await api.stores.invitations.of_chat(chat, now=now(), limit=9)
    assert token not in repr(found)
    assert len(token) >= 43  # 256 bits


async def test_links_end(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await opened(haneul, "cho")
    made, other = await link(haneul, chat), await link(haneul, chat, role="reader")
    path = f"/v1/chats/{chat}/invitations"
    for _ in range(2):
        assert (await haneul.call("DELETE", f"{path}/{made['id']}")).status_code == 204
    assert problem(await accept(bada, made)) == (404, "unknown_invitation")
    assert [row["id"] for row in (await haneul.get(path)).json()["items"]] == [other["id"]]
    assert (await accept(cho, made)).status_code == 200  # who is in it already
    stored = await api.stores.invitations.by_token("")
    assert stored is None
    elsewhere = await opened(haneul)
    for chat_id, id_ in ((elsewhere, other["id"]), (chat, "inv-0000000000000000"), (chat, "안녕"), (chat, "inv-")):
        answer = await haneul.call("DELETE", f"/v1/chats/{chat_id}/invitations/{id_}")
        assert problem(answer) == (404, "unknown_invitation")
    assert (await accept(bada, other)).json()["role"] == "reader"
    for wrong in ("x", "x" * 128, "안녕", "\0"):
        assert problem(await accept(bada, {"token": wrong})) == (404, "unknown_invitation")
    for wish in ({}, {"token": ""}, {"token": "x" * 129}, {"token": {"$ne": ""}}, {"token": "x", "chat": chat}):
        assert problem(await bada.post("/v1/invitations/accept", wish)) == (422, "invalid_request")


NO_LINKS: list[dict[str, Any]] = [
    {"expires_in": 59},
    {"expires_in": 366 * 86_400},
    {"max_uses": 0},
    {"role": "admin"},
    {"role": "owner"},
    {"approval": None},
    {"token": "mine"},
    {"uses": -1},
]


async def test_links_that_can_not_be(api: Harness) -> None:
    haneul = await api.user("haneul")
    chat = await opened(haneul)
    for wish in NO_LINKS:
        assert problem(await haneul.post(f"/v1/chats/{chat}/invitations", wish)) == (422, "invalid_request")


async def test_many_come_at_once_by_a_link_for_few(api: Harness) -> None:
    haneul = await api.user("haneul")
    guests = [await api.user(f"guest{number}") for number in range(8)]
    chat = await opened(haneul)
    made = await link(haneul, chat, max_uses=3)
    answers = await asyncio.gather(*(accept(guest, made) for guest in guests))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [404] * 5
    assert len(await roles(haneul, chat)) == 4


async def test_only_managers_have_links_and_a_direct_chat_has_none(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await opened(haneul, "bada")
    made = await link(haneul, chat)
    direct = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    asks: list[tuple[str, str, Any]] = [
        ("POST", "/invitations", {}),
        ("GET", "/invitations", None),
        ("DELETE", f"/invitations/{made['id']}", None),
        ("GET", "/requests", None),
        ("PUT", "/requests/cho", None),
        ("DELETE", "/requests/cho", None),
    ]
    eve = await api.user("eve")
    for method, path, wish in asks:
        assert problem(await bada.call(method, f"/v1/chats/{chat}{path}", json=wish)) == (403, "not_a_manager")
        assert problem(await haneul.call(method, f"/v1/chats/{direct}{path}", json=wish)) == (403, "fixed_members")
        foreign = await eve.call(method, f"/v1/chats/{chat}{path}", json=wish)
        absent = await eve.call(method, f"/v1/chats/g-nothing{path}", json=wish)
        assert problem(foreign) == problem(absent) == (404, "unknown_chat")
        assert foreign.json()["detail"] == absent.json()["detail"]
    assert (await accept(eve, made)).status_code == 201


async def test_who_was_taken_out_does_not_come_back_by_a_link(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await opened(haneul, "bada", "cho")
    made, asking = await link(haneul, chat), await link(haneul, chat, approval=True)
    await haneul.call("DELETE", f"/v1/chats/{chat}/members/bada")
    await cho.call("DELETE", f"/v1/chats/{chat}/members/cho")
    for one in (made, asking):
        assert problem(await accept(bada, one)) == (403, "removed")
    assert (await accept(cho, made)).status_code == 201
    await haneul.post(f"/v1/chats/{chat}/members", {"members": ["bada"]})
    await bada.call("DELETE", f"/v1/chats/{chat}/members/bada")
    assert (await accept(bada, made)).status_code == 201


# ---- requests


async def test_asking_to_join(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await opened(haneul)
    made = await link(haneul, chat, approval=True)
    asked = [await accept(bada, made), await accept(bada, made), await accept(cho, made)]
    assert [answer.status_code for answer in asked] == [202, 202, 202]
    assert asked[0].json() == asked[1].json() == (await bada.get("/v1/me/requests")).json()["items"][0]
    assert problem(await bada.get(f"/v1/chats/{chat}")) == (404, "unknown_chat")
    path = f"/v1/chats/{chat}/requests"
    page = (await haneul.get(path, limit=1)).json()
    assert ([row["user"] for row in page["items"]], page["next"]) == (["bada"], "bada")
    assert page["items"][0]["profile"]["display_name"] == "bada"
    assert [row["user"] for row in (await haneul.get(path, after="bada")).json()["items"]] == ["cho"]
    api.invalidations.published.clear()
    api.link.sent.clear()
    answer = await haneul.call("PUT", f"{path}/bada")
    assert (answer.status_code, answer.json()["items"][0]["role"]) == (201, "member")
    assert api.invalidations.published == [Invalidation(kind="member", chat=chat, user="bada")]
    assert [topic for topic, _ in api.link.sent] == ["users/bada/inbox", f"chats/{chat}/send/svc-api"]
    assert await told(bada, chat) == [{"what": "joined", "by": "haneul", "users": ["bada"], "role": "member"}]
    assert problem(await haneul.call("PUT", f"{path}/bada")) == (404, "unknown_request")
    assert (await haneul.call("DELETE", f"{path}/cho")).status_code == 204
    assert problem(await haneul.call("DELETE", f"{path}/cho")) == (404, "unknown_request")
    assert (await cho.get("/v1/me/requests")).json() == {"items": []}
    assert list(await roles(haneul, chat)) == ["bada", "haneul"]
    assert (await haneul.get(f"/v1/chats/{chat}/invitations")).json()["items"][0]["uses"] == 2


async def test_a_request_is_withdrawn_by_who_has_asked(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await opened(haneul)
    made = await link(haneul, chat, approval=True)
    await accept(bada, made)
    assert problem(await cho.call("DELETE", f"/v1/chats/{chat}/requests/bada")) == (404, "unknown_chat")
    assert problem(await cho.call("DELETE", f"/v1/chats/{chat}/requests/cho")) == (404, "unknown_chat")
    assert problem(await cho.call("DELETE", "/v1/chats/안녕/requests/cho")) == (404, "unknown_chat")
    assert (await bada.call("DELETE", f"/v1/chats/{chat}/requests/bada")).status_code == 204
    assert (await haneul.get(f"/v1/chats/{chat}/requests")).json()["items"] == []


async def test_rooms_have_walls(tmp_path: Path) -> None:
    bounds = {"api_max_members": 2, "api_max_links": 2, "api_max_join_requests": 1}
    async with running_api(tmp_path, memory_stores(), **bounds) as api:
        haneul = await api.user("haneul")
        guests = [await api.user(f"guest{number}") for number in range(3)]
        chat = await opened(haneul)
        made, asking = await link(haneul, chat), await link(haneul, chat, approval=True)
        answer = await haneul.post(f"/v1/chats/{chat}/invitations", {})
        assert problem(answer) == (409, "too_many_links")
        assert (await accept(guests[0], asking)).status_code == 202
        assert problem(await accept(guests[1], asking)) == (409, "too_many_requests")
        assert (await accept(guests[1], made)).status_code == 201
        assert problem(await accept(guests[2], made)) == (409, "too_many_members")
        answer = await haneul.call("PUT", f"/v1/chats/{chat}/requests/guest0")
        assert problem(answer) == (409, "too_many_members")
        assert len((await haneul.get(f"/v1/chats/{chat}/requests")).json()["items"]) == 1
