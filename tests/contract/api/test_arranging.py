"""How a member arranges a chat for themselves: muted, pinned, archived. On memory and MongoDB."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.clock import now
from api.testing import Harness, User
from chat.models import Head


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def opened(owner: User, *members: str, kind: str = "group") -> str:
    answer = await owner.post("/v1/chats", {"kind": kind, "title": "주말 등산", "members": list(members)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def told(user: User, chat: str) -> list[dict[str, Any]]:
    """What the chat was told."""
    items = (await user.get(f"/v1/chats/{chat}/messages")).json()["items"]
    return [item["system"] for item in items if item["type"] == "system"]


async def test_muted_pinned_archived(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chats = [await opened(haneul, "bada") for _ in range(4)]
    for place, chat in enumerate(chats):
        await api.stores.chats.touch({chat: (Head(1, 1), now() + timedelta(seconds=place))})

    async def arrange(chat: str, **wish: Any) -> dict[str, Any]:
        answer = await haneul.call("PATCH", f"/v1/chats/{chat}/arrangement", json=wish)
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def listed(**query: Any) -> list[str]:
        found: list[str] = []
        while True:
            page = (await haneul.get("/v1/chats", limit=1, **query)).json()
            found += [row["id"] for row in page["items"]]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    assert await listed() == chats[::-1]
    end = (now() + timedelta(days=3)).isoformat()
    view = await arrange(chats[0], muted_until=end, pinned=True)
    assert (view["pinned"], view["archived"]) == (True, False)
    assert view["muted_until"][:19] == end[:19]
    await arrange(chats[2], archived=True)
    assert await listed() == [chats[0], chats[3], chats[2], chats[1]]
    assert await listed(archived=True) == [chats[2]]
    assert await listed(archived=False) == [chats[0], chats[3], chats[1]]
    view = await arrange(chats[0], pinned=False)
    assert view["muted_until"] is not None
    assert (await arrange(chats[0], muted_until=None))["muted_until"] is None
    row = await api.stores.chats.member(chats[0], "haneul")
    assert row is not None
    assert (row.muted_until, row.pinned_at) == (None, None)
    theirs = (await bada.get("/v1/chats")).json()["items"]
    assert not any(row["pinned"] or row["archived"] or row["muted_until"] for row in theirs)
    assert await told(bada, chats[0]) == []


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00+14:00", "1999-01-01T00:00:00Z"])
async def test_an_end_that_is_past_mutes_nothing(api: Harness, end: str) -> None:
    haneul = await api.user("haneul")
    chat = await opened(haneul)
    answer = await haneul.call("PATCH", f"/v1/chats/{chat}/arrangement", json={"muted_until": end})
    assert (answer.status_code, answer.json()["muted_until"]) == (200, None)


NO_ARRANGEMENTS: list[dict[str, Any]] = [
    {},
    {"muted_until": "2026-05-05T07:00:00"},
    {"muted_until": "9999-12-31T23:59:59-12:00"},
    {"muted_until": "soon"},
    {"pinned": None},
    {"archived": "?"},
    {"role": "owner", "pinned": True},
    {"seen_seq": 5},
]


async def test_arrangements_that_can_not_be(api: Harness) -> None:
    haneul = await api.user("haneul")
    chat = await opened(haneul)
    for wish in NO_ARRANGEMENTS:
        answer = await haneul.call("PATCH", f"/v1/chats/{chat}/arrangement", json=wish)
        assert problem(answer) == (422, "invalid_request")


async def test_who_comes_back_begins_anew(api: Harness) -> None:
    haneul, bada, eve = await api.user("haneul"), await api.user("bada"), await api.user("eve")
    chat = await opened(haneul, "bada")
    path = f"/v1/chats/{chat}/arrangement"
    await bada.call("PATCH", path, json={"pinned": True, "archived": True})
    await bada.call("DELETE", f"/v1/chats/{chat}/members/bada")
    for user in (bada, eve):
        assert problem(await user.call("PATCH", path, json={"pinned": True})) == (404, "unknown_chat")
    await haneul.post(f"/v1/chats/{chat}/members", {"members": ["bada"]})
    view = (await bada.get(f"/v1/chats/{chat}")).json()
    assert (view["pinned"], view["archived"]) == (False, False)
