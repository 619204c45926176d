"""Opening chats, the list, members: on memory and MongoDB."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import httpx
import pytest

from api.testing import Harness, User
from chat.envelopes import Invalidation
from chat.errors import Unavailable
from chat.ids import direct_chat_id, new_message_id
from chat.ports import Published


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def anonymous(answer: httpx.Response) -> dict[str, Any]:
    """The problem without the path that was asked."""
    body: dict[str, Any] = answer.json()
    del body["instance"]
    return body


async def group(owner: User, *members: str, title: str = "주말 등산") -> str:
    answer = await owner.post("/v1/chats", {"kind": "group", "title": title, "members": list(members)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def say(user: User, chat: str, text: str = "안녕하세요") -> dict[str, Any]:
    answer = await user.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": text}})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_group(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    answer = await haneul.post(
        "/v1/chats", {"kind": "group", "title": "주말 등산", "members": ["bada", "bada", "haneul"]}
    )
    assert answer.status_code == 201
    chat = answer.json()
    assert chat["id"].startswith("g-")
    assert {name: chat[name] for name in ("kind", "title", "created_by", "role", "unread", "last_seq")} == {
        "kind": "group",
        "title": "주말 등산",
        "created_by": "haneul",
        "role": "owner",
        "unread": 0,
        "last_seq": 0,
    }
    assert (chat["last_message"], chat["peer"]) == (None, None)
    assert (await bada.get(f"/v1/chats/{chat['id']}")).json() == {**chat, "role": "member"}
    members = (await bada.get(f"/v1/chats/{chat['id']}/members")).json()
    assert [(m["user"], m["role"]) for m in members["items"]] == [("bada", "member"), ("haneul", "owner")]
    assert members["next"] is None


async def test_opening_a_chat_is_told(api: Harness) -> None:
    haneul, _ = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada")
    assert api.invalidations.published == [
        Invalidation(kind="member", chat=chat, user="haneul"),
        Invalidation(kind="member", chat=chat, user="bada"),
    ]
    ((topic, payload),) = api.link.sent
    assert topic == "users/bada/inbox"
    assert json.loads(payload) == {
        "type": "invitation",
        "chat": chat,
        "kind": "group",
        "by": "haneul",
        "title": "주말 등산",
    }


@pytest.mark.parametrize("title", ["산", unicodedata.normalize("NFD", "주말 등산"), "🥾" * 128, "nul\0"])
async def test_titles_come_back_as_they_came(api: Harness, title: str) -> None:
    haneul = await api.user("haneul")
    chat = await group(haneul, title=title)
    assert (await haneul.get(f"/v1/chats/{chat}")).json()["title"] == title


async def test_a_pair_has_one_direct_chat(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    first = await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})
    again = await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada", "haneul"]})
    back = await bada.post("/v1/chats", {"kind": "direct", "members": ["haneul"]})
    assert [answer.status_code for answer in (first, again, back)] == [201, 200, 200]
    assert first.json() == again.json()
    assert first.json()["id"] == back.json()["id"] == direct_chat_id("haneul", "bada")
    assert (first.json()["peer"], back.json()["peer"]) == ("bada", "haneul")
    assert len(api.link.sent) == 1


async def test_a_direct_chat_keeps_its_two(api: Harness) -> None:
    haneul, _, _ = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    assert problem(await haneul.post(f"/v1/chats/{chat}/members", {"members": ["cho"]})) == (403, "fixed_members")
    for user in ("bada", "haneul"):
        assert problem(await haneul.call("DELETE", f"/v1/chats/{chat}/members/{user}")) == (403, "fixed_members")


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"kind": "direct"}, (422, "one_peer")),
        ({"kind": "direct", "members": ["haneul"]}, (422, "one_peer")),
        ({"kind": "direct", "members": ["bada", "cho"]}, (422, "one_peer")),
        ({"kind": "direct", "members": ["bada"], "title": "둘"}, (422, "no_title")),
        ({"kind": "direct", "members": ["nobody"]}, (404, "unknown_user")),
        ({"kind": "group", "members": ["bada", "nobody"]}, (404, "unknown_user")),
        ({"kind": "group", "members": ["dev-of-bada"]}, (404, "unknown_user")),
        ({"kind": "group", "members": ["dev-nothing"]}, (404, "unknown_user")),
        ({"kind": "group", "members": ["svc-bridge"]}, (404, "unknown_user")),
        ({"kind": "group", "members": ["BADA"]}, (404, "unknown_user")),
        ({"kind": "group", "members": [""]}, (404, "unknown_user")),
        ({"kind": "group", "members": ["nul\0"]}, (404, "unknown_user")),
        ({"kind": "broadcast"}, (422, "invalid_request")),
        ({"kind": "group", "title": ""}, (422, "invalid_request")),
        ({"kind": "group", "title": "x" * 129}, (422, "invalid_request")),
        ({"kind": "group", "members": "bada"}, (422, "invalid_request")),
        ({"kind": "group", "members": [1]}, (422, "invalid_request")),
        ({"kind": "group", "id": "mine"}, (422, "invalid_request")),
        ({}, (422, "invalid_request")),
        ([], (422, "invalid_request")),
    ],
)
async def test_chats_that_can_not_be(api: Harness, wish: Any, expected: tuple[int, str]) -> None:
    haneul, bada, _ = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    await bada.post("/v1/devices", {"name": "온도계", "id": "dev-of-bada"})
    assert problem(await haneul.post("/v1/chats", wish)) == expected
    assert (await haneul.get("/v1/chats")).json() == {"items": [], "next": None}
    assert api.link.sent == []


async def test_a_foreign_device_looks_like_none(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    await bada.post("/v1/devices", {"name": "온도계", "id": "dev-x1"})
    foreign = await haneul.post("/v1/chats", {"kind": "group", "members": ["dev-x1"]})
    absent = await haneul.post("/v1/chats", {"kind": "group", "members": ["dev-x2"]})
    assert foreign.text.replace("dev-x1", "dev-x2") == absent.text


async def test_a_device_of_mine_may_come(api: Harness) -> None:
    haneul = await api.user("haneul")
    device = (await haneul.post("/v1/devices", {"name": "온도계"})).json()["id"]
    chat = await group(haneul, device)
    members = (await haneul.get(f"/v1/chats/{chat}/members")).json()["items"]
    assert [m["user"] for m in members] == [device, "haneul"]


async def test_unread_and_the_last_message(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada")
    texts = ["하나", "둘", "셋"]
    events = [await say(haneul, chat, text) for text in texts]
    target = {"id": new_message_id(), "type": "reaction", "target": events[0]["id"], "body": {"emoji": "👍🏽"}}
    assert (await haneul.post(f"/v1/chats/{chat}/messages", target)).status_code == 201
    (seen_by_bada,) = (await bada.get("/v1/chats")).json()["items"]
    assert (seen_by_bada["unread"], seen_by_bada["last_seq"]) == (3, 4)  # the reaction does not count
    assert seen_by_bada["last_message"] == events[2]
    await api.move(chat, "bada", seen=2)
    (seen_by_bada,) = (await bada.get("/v1/chats")).json()["items"]
    assert (seen_by_bada["unread"], seen_by_bada["seen_seq"], seen_by_bada["delivered_seq"]) == (1, 2, 2)
    await api.move(chat, "bada", seen=4)
    assert (await bada.get("/v1/chats")).json()["items"][0]["unread"] == 0


async def test_what_i_have_said_myself_is_never_unread_even_before_my_watermark_is_raised(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada")
    await say(haneul, chat, "하나")
    mine = await say(bada, chat, "둘")
    member = await api.stores.chats.member(chat, "bada")
    assert member is not None
    view = (await bada.get(f"/v1/chats/{chat}")).json()
    assert (view["unread"], view["seen_seq"], view["delivered_seq"]) == (0, mine["seq"], mine["seq"])
    await say(haneul, chat, "셋")
    assert (await bada.get(f"/v1/chats/{chat}")).json()["unread"] == 3 - member.seen_n


async def test_the_list_shows_the_most_lately_active_first_in_pages(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chats = [await group(haneul, title=f"{place}") for place in range(5)]
    await group(bada)
    for chat in (chats[3], chats[0]):
        event = await say(haneul, chat)
        head = await api.stores.messages.head(chat)
        stored = (await api.stores.messages.by_ids([event["id"]]))[event["id"]]
        await api.stores.chats.touch({chat: (head, stored.at)})
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = (await haneul.get("/v1/chats", limit=2, **cursor)).json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert sorted(seen) == sorted(chats)
    assert set(seen[:2]) == {chats[0], chats[3]}


@pytest.mark.parametrize("cursor", ["x", "!!!", "eA", "안녕", "MQ", "Cg", "LTEKYQ", "w7_Dvw"])
async def test_foreign_cursors(api: Harness, cursor: str) -> None:
    assert problem(await (await api.user("haneul")).get("/v1/chats", cursor=cursor)) == (422, "invalid_cursor")


async def test_foreign_chats_look_like_none(api: Harness) -> None:
    haneul, bada, eve = await api.user("haneul"), await api.user("bada"), await api.user("eve")
    chat = await group(haneul, "bada")
    await say(haneul, chat)
    body = {"id": new_message_id(), "body": {"text": "들어가도 돼요?"}}
    asks: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "/members", None),
        ("GET", "/messages", None),
        ("POST", "/messages", body),
        ("POST", "/members", {"members": ["eve"]}),
        ("DELETE", "/members/bada", None),
        ("DELETE", "/members/eve", None),
        ("PATCH", "/members/bada", {"role": "admin"}),
        ("PATCH", "", {"title": "바뀐 이름"}),
        ("GET", "/pins", None),
    ]
    sent = len(api.link.sent)
    for method, path, wish in asks:
        foreign = await eve.call(method, f"/v1/chats/{chat}{path}", json=wish)
        for other in ("g-00000000000000000000000000000000", "nothing", "x" * 65, "안녕", "a b", "+"):
            absent = await eve.call(method, f"/v1/chats/{other}{path}", json=wish)
            assert problem(foreign) == problem(absent) == (404, "unknown_chat"), (method, path, other)
            assert anonymous(foreign) == anonymous(absent)
    assert len(api.link.sent) == sent
    assert (await bada.get(f"/v1/chats/{chat}")).status_code == 200


async def test_adding_members(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await group(haneul, "bada")
    for text in ("하나", "둘"):
        await say(haneul, chat, text)
    api.invalidations.published.clear()
    api.link.sent.clear()
    answer = await haneul.post(f"/v1/chats/{chat}/members", {"members": ["cho", "bada", "cho"]})
    assert answer.status_code == 201
    added = {item["user"]: item for item in answer.json()["items"]}
    assert list(added) == ["cho", "bada"]
    assert (added["cho"]["role"], added["cho"]["joined_seq"]) == ("member", 2)
    assert api.invalidations.published == [Invalidation(kind="member", chat=chat, user="cho")]
    assert [topic for topic, _ in api.link.sent] == ["users/cho/inbox", f"chats/{chat}/send/svc-api"]
    again = await haneul.post(f"/v1/chats/{chat}/members", {"members": ["cho"]})
    assert again.status_code == 200
    assert len(api.link.sent) == 2
    view = (await cho.get(f"/v1/chats/{chat}")).json()
    assert view["unread"] == 0
    items = (await cho.get(f"/v1/chats/{chat}/messages")).json()["items"]
    assert [item["type"] for item in items] == ["message", "message", "system"]
    await say(bada, chat, "어서 와")
    assert (await cho.get(f"/v1/chats/{chat}")).json()["unread"] == 1


async def test_one_unknown_member_adds_none(api: Harness) -> None:
    haneul, _ = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul)
    answer = await haneul.post(f"/v1/chats/{chat}/members", {"members": ["bada", "nobody"]})
    assert problem(answer) == (404, "unknown_user")
    assert len((await haneul.get(f"/v1/chats/{chat}/members")).json()["items"]) == 1


async def test_only_managers_add_and_remove(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    await api.user("dan")
    chat = await group(haneul, "bada")
    path = f"/v1/chats/{chat}/members"
    assert problem(await bada.post(path, {"members": ["cho"]})) == (403, "not_a_manager")
    assert (await haneul.post(path, {"members": ["cho"], "role": "admin"})).status_code == 201
    assert (await cho.post(path, {"members": ["dan"], "role": "reader"})).status_code == 201
    assert problem(await cho.post(path, {"members": ["dan"], "role": "admin"})) == (403, "not_a_manager")
    assert problem(await haneul.post(path, {"members": ["dan"], "role": "owner"})) == (422, "invalid_request")
    assert problem(await bada.call("DELETE", f"{path}/dan")) == (403, "not_a_manager")
    assert problem(await cho.call("DELETE", f"{path}/haneul")) == (403, "not_a_manager")
    assert problem(await cho.call("DELETE", f"{path}/nobody")) == (404, "unknown_member")
    assert problem(await cho.call("DELETE", f"{path}/안녕")) == (404, "unknown_member")
    assert (await cho.call("DELETE", f"{path}/dan")).status_code == 204
    assert problem(await cho.call("DELETE", f"{path}/dan")) == (404, "unknown_member")


async def test_who_left_is_out_at_once_and_may_come_back(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada")
    await say(haneul, chat)
    api.invalidations.published.clear()
    assert (await bada.call("DELETE", f"/v1/chats/{chat}/members/bada")).status_code == 204
    assert api.invalidations.published == [Invalidation(kind="member", chat=chat, user="bada")]
    assert problem(await bada.get(f"/v1/chats/{chat}/messages")) == (404, "unknown_chat")
    assert (await bada.get("/v1/chats")).json()["items"] == []
    assert (await haneul.post(f"/v1/chats/{chat}/members", {"members": ["bada"]})).status_code == 201
    assert (await bada.get(f"/v1/chats/{chat}/messages")).status_code == 200


async def test_readers_read_and_do_not_write(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul)
    await haneul.post(f"/v1/chats/{chat}/members", {"members": ["bada"], "role": "reader"})
    assert (await bada.get(f"/v1/chats/{chat}/messages")).status_code == 200
    answer = await bada.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": "?"}})
    assert problem(answer) == (403, "read_only")


async def test_members_in_pages(api: Harness) -> None:
    haneul = await api.user("haneul")
    names = [f"user{place:02}" for place in range(7)]
    for name in names:
        await api.user(name)
    chat = await group(haneul, *names)
    found: list[str] = []
    after = ""
    while True:
        page = (await haneul.get(f"/v1/chats/{chat}/members", limit=3, after=after)).json()
        found += [item["user"] for item in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert found == ["haneul", *names]


async def system(user: User, chat: str) -> list[dict[str, Any]]:
    """What the chat was told, without the message ids and times."""
    items = (await user.get(f"/v1/chats/{chat}/messages")).json()["items"]
    return [item["system"] for item in items if item["type"] == "system"]


async def test_a_chat_is_told_who_joins_and_leaves(api: Harness) -> None:
    haneul, bada, _ = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await group(haneul, "bada")
    await haneul.post(f"/v1/chats/{chat}/members", {"members": ["cho"], "role": "reader"})
    await haneul.call("DELETE", f"/v1/chats/{chat}/members/cho")
    await bada.call("DELETE", f"/v1/chats/{chat}/members/bada")
    assert await system(haneul, chat) == [
        {"what": "joined", "by": "haneul", "users": ["cho"], "role": "reader"},
        {"what": "left", "by": "haneul", "users": ["cho"]},
        {"what": "left", "by": "bada", "users": ["bada"]},
    ]
    view = (await haneul.get(f"/v1/chats/{chat}")).json()
    assert (view["last_seq"], view["unread"], view["last_message"]) == (3, 0, None)


async def test_a_group_gets_another_title(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada", title="등산")
    path = f"/v1/chats/{chat}"
    assert problem(await bada.call("PATCH", path, json={"title": "바다"})) == (403, "not_a_manager")
    for title in ("주말 등산 ⛰️", "주말 등산 ⛰️", None):
        answer = await haneul.call("PATCH", path, json={"title": title})
        assert (answer.status_code, answer.json()["title"]) == (200, title)
    assert (await bada.get(path)).json()["title"] is None
    assert await system(bada, chat) == [
        {"what": "renamed", "by": "haneul", "title": "주말 등산 ⛰️"},
        {"what": "renamed", "by": "haneul"},
    ]
    for wrong in ({}, {"title": ""}, {"title": "x" * 129}, {"title": 5}, {"title": "x", "kind": "direct"}):
        assert (await haneul.call("PATCH", path, json=wrong)).status_code == 422
    direct = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    answer = await haneul.call("PATCH", f"/v1/chats/{direct}", json={"title": "둘"})
    assert problem(answer) == (422, "no_title")


async def test_the_owner_gives_roles(api: Harness) -> None:
    haneul, bada, cho = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await group(haneul, "bada", "cho")
    path = f"/v1/chats/{chat}/members"
    api.invalidations.published.clear()
    for role in ("admin", "admin"):
        answer = await haneul.call("PATCH", f"{path}/bada", json={"role": role})
        assert (answer.status_code, answer.json()["items"][0]["role"]) == (200, "admin")
    assert api.invalidations.published == [Invalidation(kind="member", chat=chat, user="bada")]
    assert await system(cho, chat) == [{"what": "role", "by": "haneul", "users": ["bada"], "role": "admin"}]
    assert problem(await bada.call("PATCH", f"{path}/cho", json={"role": "reader"})) == (403, "not_a_manager")
    assert problem(await haneul.call("PATCH", f"{path}/haneul", json={"role": "member"})) == (403, "not_a_manager")
    assert problem(await haneul.call("PATCH", f"{path}/nobody", json={"role": "member"})) == (404, "unknown_member")
    assert (await haneul.call("PATCH", f"{path}/cho", json={"role": "owner"})).status_code == 422
    assert (await haneul.call("PATCH", f"{path}/cho", json={"role": "reader"})).status_code == 200
    body = {"id": new_message_id(), "body": {"text": "이제는 못 써요"}}
    assert problem(await cho.post(f"/v1/chats/{chat}/messages", body)) == (403, "read_only")
    direct = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    answer = await haneul.call("PATCH", f"/v1/chats/{direct}/members/bada", json={"role": "admin"})
    assert problem(answer) == (403, "fixed_members")


async def test_a_chat_that_cannot_be_told_changes_all_the_same(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada")
    for fault in (Unavailable("no broker"), Published(0x97, "no bridge")):
        api.link.answer = fault
        title = f"이름 {fault}"[:128]
        assert (await haneul.call("PATCH", f"/v1/chats/{chat}", json={"title": title})).json()["title"] == title
    assert await system(bada, chat) == []


async def test_who_manages_a_group_says_how_long_it_keeps_what_is_said(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = (await haneul.post("/v1/chats", {"kind": "group", "title": "등산", "members": ["bada"]})).json()["id"]
    direct = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    path = f"/v1/chats/{chat}/retention"
    assert (await haneul.call("PUT", path, json={"days": 30})).json()["retention_days"] == 30
    assert (await bada.get(f"/v1/chats/{chat}")).json()["retention_days"] == 30
    assert problem(await bada.call("PUT", path, json={"days": 1})) == (403, "not_a_manager")
    assert problem(await haneul.call("PUT", f"/v1/chats/{direct}/retention", json={"days": 1})) == (
        403,
        "not_a_manager",
    )
    for days in (0, -1, 36_501, "한 달", 1.5):
        assert (await haneul.call("PUT", path, json={"days": days})).status_code == 422
    assert (await haneul.call("PUT", path, json={})).status_code == 422
    assert (await haneul.call("PUT", path, json={"days": None})).json()["retention_days"] is None
