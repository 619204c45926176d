"""History beyond pages by `seq`: by time, around a message, by type, threads, reactions, receipts, clearing, ETags."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.testing import Harness, User
from chat.admin import Exclusion, ExclusionKind
from chat.envelopes import Body, Event
from chat.ids import new_message_id

T0 = datetime(2026, 5, 4, 3, 0, 0, tzinfo=UTC)


async def pair(api: Harness) -> tuple[User, User, str]:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = (await haneul.post("/v1/chats", {"kind": "direct", "members": ["bada"]})).json()["id"]
    return haneul, bada, chat


def event(chat: str, seq: int, **fields: Any) -> Event:
    """One a minute."""
    at = T0 + timedelta(minutes=seq)
    return Event(
        **{"type": "message", "id": new_message_id(), "n": seq, "sender": "haneul", "at": at, **fields},
        chat=chat,
        seq=seq,
    )


async def page(user: User, path: str, **query: Any) -> dict[str, Any]:
    answer = await user.get(path, **query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def seqs(found: dict[str, Any]) -> list[int]:
    return [item["seq"] for item in found["items"]]


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_by_time(api: Harness) -> None:
    haneul, _, chat = await pair(api)
    await api.stores.messages.insert([event(chat, seq) for seq in range(1, 61)])
    path = f"/v1/chats/{chat}/messages"

    def at(minutes: float) -> str:
        return (T0 + timedelta(minutes=minutes)).astimezone().isoformat()

    assert seqs(await page(haneul, path, since=at(58))) == [58, 59, 60]
    assert seqs(await page(haneul, path, since=at(57.5))) == [58, 59, 60]
    assert seqs(await page(haneul, path, until=at(3))) == [1, 2]
    assert seqs(await page(haneul, path, until=at(50), limit=2)) == [48, 49]
    assert seqs(await page(haneul, path, since=at(10), until=at(13))) == [10, 11, 12]
    assert seqs(await page(haneul, path, after=4, until=at(7))) == [5, 6]
    for nothing in ({"since": at(61)}, {"until": at(1)}, {"since": at(5), "until": at(5)}):
        assert seqs(await page(haneul, path, **nothing)) == []
    first = await page(haneul, path, since=at(0), limit=2)
    assert (seqs(first), first["next"], first["prev"]) == ([1, 2], 2, None)


@pytest.mark.parametrize(
    "query",
    [
        {"since": "2026-05-04T03:00:00"},
        {"since": "yesterday"},
        {"since": "2026-05-04T03:00:00Z", "after": 1},
        {"until": "2026-05-04T03:00:00Z", "before": 1},
        {"around": "x" * 65},
        {"around": "01890a5d-ac96-774b-bcce-b302099a8057", "after": 1},
        {"type": "void"},
        {"type": "$where"},
    ],
)
async def test_wrong_queries(api: Harness, query: dict[str, Any]) -> None:
    haneul, _, chat = await pair(api)
    assert problem(await haneul.get(f"/v1/chats/{chat}/messages", **query)) == (422, "invalid_request")


async def test_around_a_message(api: Harness) -> None:
    haneul, _, chat = await pair(api)
    events = [event(chat, seq) for seq in range(1, 21)]
    mine = event(chat, 21, sender="bada", only="bada")
    await api.stores.messages.insert([*events, mine])
    path = f"/v1/chats/{chat}/messages"
    found = await page(haneul, path, around=events[9].id, limit=5)
    assert (seqs(found), found["next"], found["prev"]) == ([8, 9, 10, 11, 12], 12, 8)
    assert seqs(await page(haneul, path, around=events[0].id.upper(), limit=4)) == [1, 2]
    alone = await page(haneul, path, around=events[4].id, limit=1)
    assert (seqs(alone), alone["next"], alone["prev"]) == ([5], 5, 5)
    for unknown in (new_message_id(), mine.id):
        assert problem(await haneul.get(path, around=unknown)) == (404, "unknown_message")
    assert problem(await haneul.get(path, around="5")) == (422, "invalid_id")


async def test_by_type_in_pages_that_may_be_short(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.messages.reading.SCAN", 10)
    haneul, _, chat = await pair(api)
    rare = {7, 70, 150}
    await api.stores.messages.insert(
        [event(chat, seq, type="system" if seq in rare else "message") for seq in range(1, 161)]
    )
    path = f"/v1/chats/{chat}/messages"
    for way, end in (("prev", "before"), ("next", "after")):
        found, query = set(), {"after": 0} if way == "next" else {}
        for _ in range(40):
            one = await page(haneul, path, type="system", limit=2, **query)
            found |= set(seqs(one))
            if one[way] is None:
                break
            query = {end: one[way]}
        assert (found, one[way]) == (rare, None)
    both = await page(haneul, path, type=["system", "message"], limit=3)
    assert seqs(both) == [158, 159, 160]


async def test_reactions_and_answers_are_folded_in(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    await haneul.post(f"/v1/chats/{chat}/messages", {"id": (said := new_message_id()), "body": {"text": "산에 가요"}})

    async def send(user: User, **wish: Any) -> None:
        answer = await user.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), **wish})
        assert answer.status_code == 201, answer.text

    for user, emoji in ((bada, "👍"), (haneul, "🎉"), (bada, "🎉"), (haneul, "👍"), (haneul, "")):
        await send(user, type="reaction", target=said, body={"emoji": emoji})
    await send(bada, type="unreact", target=said, body={"emoji": "👍"})  # not what is there
    for text in ("좋아요", "몇 시에?"):
        await send(bada, body={"text": text}, reply_to=said)
    for query in ({}, {"after": 0}, {"limit": 200}, {"around": said}, {"type": "message"}):
        item = (await page(bada, f"/v1/chats/{chat}/messages", **query))["items"][0]
        assert item["reactions"] == [{"emoji": "🎉", "count": 1, "mine": True}], query
        assert item["replies"] == 2
    one = await page(haneul, f"/v1/chats/{chat}/messages/{said}")
    assert one["reactions"] == [{"emoji": "🎉", "count": 1, "mine": False}]
    first = await page(haneul, f"/v1/chats/{chat}/messages/{said}/replies", limit=1)
    assert ([i["body"]["text"] for i in first["items"]], first["next"]) == (["좋아요"], 8)
    rest = await page(haneul, f"/v1/chats/{chat}/messages/{said}/replies", after=first["next"])
    assert ([i["body"]["text"] for i in rest["items"]], rest["next"]) == (["몇 시에?"], None)
    await send(bada, type="unreact", target=said, body={"emoji": "🎉"})
    for query in ({}, {"limit": 200}, {"around": said}):
        assert not (await page(bada, f"/v1/chats/{chat}/messages", **query))["items"][0].get("reactions"), query
    found = await page(bada, f"/v1/chats/{chat}/messages", type="unreact")
    assert [item["body"]["emoji"] for item in found["items"]] == ["👍", "🎉"]


async def test_the_words_of_what_is_deleted_are_in_no_edit(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    said, hidden = event(chat, 1, body=Body(text="처음")), event(chat, 2, body=Body(text="보임"))
    edits = [
        event(chat, 3, type="edit", target=said.id, body=Body(text="고침")),
        event(chat, 4, type="edit", target=hidden.id, body=Body(text="고친 보임")),
    ]
    gone = event(chat, 5, type="delete", target=said.id)
    hide = event(chat, 6, type="hide", target=hidden.id, sender="bada", only="bada")
    store = api.stores.messages
    await store.insert([said, hidden, *edits, gone, hide])
    await store.rewrite(said.id, body=edits[0].body, edited_at=edits[0].at, deleted_at=None)
    await store.rewrite(hidden.id, body=edits[1].body, edited_at=edits[1].at, deleted_at=None)
    await store.rewrite(said.id, body=None, edited_at=None, deleted_at=gone.at)
    await store.hide(hidden.id, "bada")
    for query in ({}, {"after": 0}, {"after": 2}, {"before": 5, "limit": 2}):
        texts = str(await page(bada, f"/v1/chats/{chat}/messages", **query))
        assert not [word for word in ("처음", "고침", "보임") if word in texts], query
        shown = str(await page(haneul, f"/v1/chats/{chat}/messages", **query))
        assert "고친 보임" in shown
        assert "고침" not in shown


async def test_who_has_seen_it(api: Harness) -> None:
    haneul, _, _ = [await api.user(name) for name in ("haneul", "bada", "cho")]
    chat = (await haneul.post("/v1/chats", {"kind": "group", "members": ["bada", "cho"]})).json()["id"]
    said = event(chat, 1)
    await api.stores.messages.insert([said])
    await api.move(chat, "bada", delivered=1, at=T0)
    await api.move(chat, "bada", seen=1, at=T0 + timedelta(seconds=5))
    found = await page(haneul, f"/v1/chats/{chat}/messages/{said.id}/receipts")
    assert found == {
        "status": "SENT",
        "delivered_at": None,
        "seen_at": None,
        "people": 2,
        "delivered": 1,
        "seen": 1,
        "readers": [
            {
                "user": "bada",
                "delivered": True,
                "seen": True,
                "delivered_at": "2026-05-04T03:00:00Z",
                "seen_at": "2026-05-04T03:00:05Z",
            },
            {"user": "cho", "delivered": False, "seen": False, "delivered_at": None, "seen_at": None},
        ],
    }


async def test_large_chats_count_and_keep_what_is_hidden(api: Harness) -> None:
    names = ["haneul", "bada", "cho", "dal"]
    users = {name: await api.user(name) for name in names}
    haneul = users["haneul"]
    chat = (await haneul.post("/v1/chats", {"kind": "group", "members": names[1:]})).json()["id"]
    said = event(chat, 1)
    await api.stores.messages.insert([said])
    for name in names[:3]:
        await api.move(chat, name, seen=1, at=T0)
    path = f"/v1/chats/{chat}/messages/{said.id}/receipts"
    named = await page(haneul, path)
    object.__setattr__(api.parts.settings, "api_receipts_named", 2)

    async def counted(user: User) -> tuple[int, int, int, str]:
        found = await page(user, path)
        assert (found["readers"], found["seen_at"]) == (None, None)
        status = (await page(user, f"/v1/chats/{chat}/messages"))["items"][0]["status"]
        assert status == found["status"]
        return found["people"], found["delivered"], found["seen"], status

    assert (named["people"], named["delivered"], named["seen"], named["status"]) == (3, 2, 2, "SENT")
    assert await counted(haneul) == (3, 2, 2, "SENT")
    await api.move(chat, "dal", delivered=1, at=T0)
    assert await counted(haneul) == (3, 3, 2, "DELIVERED")
    await api.move(chat, "dal", seen=1, at=T0)
    assert await counted(haneul) == (3, 3, 3, "SEEN")
    await users["bada"].call("PATCH", "/v1/me", json={"hides_seen": True})
    assert await counted(haneul) == (3, 3, 2, "DELIVERED")
    assert await counted(users["bada"]) == (3, 3, 1, "DELIVERED")
    outsider = await api.user("eve")
    assert problem(await outsider.get(path)) == (404, "unknown_chat")


async def test_clearing_is_for_one_and_for_good(api: Harness) -> None:
    haneul, bada, chat = await pair(api)
    events = [event(chat, seq, body=Body(text=str(seq))) for seq in range(1, 9)]
    reply = event(chat, 9, reply_to=events[7].id)
    await api.stores.messages.insert([*events, reply])
    path = f"/v1/chats/{chat}/messages"
    assert (await bada.call("PUT", f"/v1/chats/{chat}/cleared", json={"seq": 6})).json() == {"seq": 6}
    assert (await bada.call("PUT", f"/v1/chats/{chat}/cleared", json={"seq": 2})).json() == {"seq": 6}
    for query in ({}, {"after": 0}, {"before": 100}, {"limit": 200}, {"around": events[7].id}, {"type": "message"}):
        found = await page(bada, path, **query)
        assert (seqs(found), found["next"], found["prev"]) == ([7, 8, 9], None, None), query
    assert seqs(await page(bada, path, before=5)) == []
    assert problem(await bada.get(path, around=events[2].id)) == (404, "unknown_message")
    assert problem(await bada.get(f"{path}/{events[2].id}")) == (404, "unknown_message")
    synced = await bada.call("GET", "/v1/sync", params={"cursor": [f"{chat}:0"]})
    kept = [(e["seq"], e.get("hidden", False), "body" in e) for e in synced.json()["items"][0]["events"]]
    assert kept == [(seq, seq < 7, 7 <= seq < 9) for seq in range(1, 10)]
    assert len((await page(haneul, path))["items"]) == 9
    assert (await bada.call("PUT", f"/v1/chats/{chat}/cleared", json={"seq": 2**53 - 1})).json() == {"seq": 9}
    assert await page(bada, path) == {"items": [], "next": None, "prev": None}
    assert (await bada.get(f"/v1/chats/{chat}")).json()["last_message"] is None
    assert problem(await (await api.user("eve")).call("PUT", f"/v1/chats/{chat}/cleared", json={"seq": 1})) == (
        404,
        "unknown_chat",
    )


async def test_deleting_is_sending(api: Harness) -> None:
    haneul, _, chat = await pair(api)
    said = event(chat, 1)
    await api.stores.messages.insert([said])
    for query, type_ in (({}, "delete"), ({"for": "me"}, "hide")):
        answer = await haneul.call("DELETE", f"/v1/chats/{chat}/messages/{said.id}", params=query)
        assert (answer.status_code, answer.content) == (204, b"")
        newest = (await api.stores.messages.before(chat, None, 1))[0]
        assert (newest.type, newest.target, newest.sender) == (type_, said.id, "haneul")
    assert problem(await haneul.call("DELETE", f"/v1/chats/{chat}/messages/nothing")) == (422, "invalid_id")


async def test_who_only_reads_hides_from_themselves_and_deletes_nothing(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = (await haneul.post("/v1/chats", {"kind": "channel", "title": "소식", "members": ["bada"]})).json()["id"]
    said = event(chat, 1)
    await api.stores.messages.insert([said])
    path = f"/v1/chats/{chat}/messages"
    assert problem(await bada.call("DELETE", f"{path}/{said.id}")) == (403, "read_only")
    assert (await bada.call("DELETE", f"{path}/{said.id}", params={"for": "me"})).status_code == 204
    newest = (await api.stores.messages.before(chat, None, 1))[0]
    assert (newest.type, newest.target, newest.sender) == ("hide", said.id, "bada")
    like = {"id": new_message_id(), "type": "reaction", "target": said.id, "body": {"emoji": "👍"}}
    assert problem(await bada.post(path, like)) == (403, "read_only")
    eve = await api.user("eve")
    assert problem(await eve.call("DELETE", f"{path}/{said.id}", params={"for": "me"})) == (404, "unknown_chat")


async def test_an_answer_that_is_as_it_was_is_not_sent_again(api: Harness) -> None:
    haneul, _, chat = await pair(api)
    said = event(chat, 1)
    await api.stores.messages.insert([said])
    for path in ("", f"/{said.id}", f"/{said.id}/replies", f"/{said.id}/receipts"):
        where = f"/v1/chats/{chat}/messages{path}"
        first = await haneul.get(where)
        tag = first.headers["etag"]
        for offered in (tag, f'"x", W/{tag}', "*"):
            again = await haneul.call("GET", where, headers={"If-None-Match": offered})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = await haneul.call("GET", where, headers={"If-None-Match": '"x"'})
        assert (other.status_code, other.json()) == (200, first.json())
    where = f"/v1/chats/{chat}/messages"
    tag = (await haneul.get(where)).headers["etag"]
    await api.move(chat, "bada", seen=1, at=T0)
    assert (await haneul.call("GET", where, headers={"If-None-Match": tag})).status_code == 200


@pytest.mark.parametrize("end", ["signed out", "banned"])
async def test_whose_sign_in_has_ended_reads_nothing_from_then_on(api: Harness, end: str) -> None:
    """Whether it holds is asked with the page, so each kind of page is asked for; what is no chat is answered alike."""
    haneul, bada, chat = await pair(api)
    await api.stores.messages.insert([event(chat, seq) for seq in range(1, 4)])
    paths = [f"/v1/chats/{one}/messages{query}" for one in (chat, "g-none", "%00") for query in ("", "?before=3")]
    for path in paths:
        answer = await haneul.get(path)
        assert answer.status_code == (200 if chat in path else 404)
        assert "RateLimit" in answer.headers
    if end == "banned":
        await api.stores.admin.block("haneul", Exclusion(ExclusionKind.BANNED, T0, "gwanri", "도배"))
    else:
        assert (await haneul.call("DELETE", "/v1/me/sessions/current")).status_code == 204
    for path in paths:
        assert problem(await haneul.get(path)) == (401, "signed_out")
        assert (await bada.get(path)).status_code == (200 if chat in path else 404)
