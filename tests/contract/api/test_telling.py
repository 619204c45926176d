"""System events are told with certainty: noted with their change, told once, in order, whoever was away meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from api.clock import now
from api.members.announce import Announcer, notice, sweep
from api.testing import Harness, User
from chat.envelopes import System, read_system
from chat.errors import Unavailable
from chat.models import Member, Notice, Role
from chat.ports import Published


async def group(owner: User, *members: str) -> str:
    answer = await owner.post("/v1/chats", {"kind": "group", "title": "등산", "members": list(members)})
    return str(answer.raise_for_status().json()["id"])


async def system(user: User, chat: str) -> list[dict[str, Any]]:
    """What the chat was told, without the message ids and times."""
    items = (await user.get(f"/v1/chats/{chat}/messages")).json()["items"]
    return [item["system"] for item in items if item["type"] == "system"]


def announcer_of(api: Harness) -> Announcer:
    return Announcer(api.invalidations, api.link, api.parts.stores.notices)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock of those who tell."""
    ahead = [0.0]
    monkeypatch.setattr("api.members.announce.now", lambda: now() + timedelta(seconds=ahead[0]))

    def move(seconds: float) -> None:
        ahead[0] += seconds

    return move


async def test_what_a_chat_was_not_told_is_told_later_once_and_in_order(
    api: Harness, later: Callable[[float], None]
) -> None:
    haneul, bada, _ = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await group(haneul, "bada")
    api.link.answer = Unavailable("no broker")
    await haneul.post(f"/v1/chats/{chat}/members", {"members": ["cho"]})
    await haneul.call("PATCH", f"/v1/chats/{chat}/members/bada", json={"role": "admin"})
    api.link.answer = Published(0x97, "no bridge")
    await haneul.call("PATCH", f"/v1/chats/{chat}", json={"title": "주말"})
    await haneul.call("DELETE", f"/v1/chats/{chat}/members/cho")
    assert await system(bada, chat) == []
    announcer = announcer_of(api)
    assert await sweep(announcer) == 0  # their requests may still be at it
    later(60)
    with pytest.raises(Unavailable):
        await sweep(announcer)
    api.link.answer = None
    sent = len(api.link.sent)
    assert await sweep(announcer) == 4
    assert await sweep(announcer) == 0
    told = [
        {"what": "joined", "by": "haneul", "users": ["cho"], "role": "member"},
        {"what": "role", "by": "haneul", "users": ["bada"], "role": "admin"},
        {"what": "renamed", "by": "haneul", "title": "주말"},
        {"what": "left", "by": "haneul", "users": ["cho"]},
    ]
    assert await system(bada, chat) == told
    # A process that died before it could note that it had told them: the same events again, and nothing new in the chat.
    again = [read_system(payload) for _, payload in api.link.sent[sent:]]
    for send in again:
        await announcer.notices.add(Notice(send.id, chat, send.system, now() - timedelta(60)))
    assert await sweep(announcer) == 4
    assert await system(bada, chat) == told


async def test_the_next_change_tells_what_was_left_before_it(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada")
    api.link.answer = Unavailable("no broker")
    await haneul.call("PATCH", f"/v1/chats/{chat}", json={"title": "하나"})
    api.link.answer = None
    await haneul.call("PATCH", f"/v1/chats/{chat}", json={"title": "둘"})
    assert [one["title"] for one in await system(bada, chat)] == ["하나", "둘"]
    assert await api.parts.stores.notices.of_chat(chat, 10) == []


async def test_somebody_elses_list_of_who_joins_is_not_told_half(api: Harness, later: Callable[[float], None]) -> None:
    """A request died between two of those whom it added; another change in the same chat leaves it alone, the sweep tells of the first."""
    haneul, bada, _ = await api.user("haneul"), await api.user("bada"), await api.user("cho")
    chat = await group(haneul, "bada")
    joined = notice(chat, System("joined", "haneul", ["cho"]), open_=True)
    cho = Member(chat, "cho", Role.MEMBER, now())
    assert await api.parts.stores.chats.add_member(cho, notice=joined)
    await haneul.call("PATCH", f"/v1/chats/{chat}", json={"title": "둘"})
    announcer = announcer_of(api)
    later(10)
    assert await sweep(announcer) == 0
    later(60)
    assert await sweep(announcer) == 1
    assert [one["what"] for one in await system(bada, chat)] == ["renamed", "joined"]


async def test_what_a_chat_does_not_take_at_all_is_not_sent_for_ever(api: Harness) -> None:
    haneul, _ = await api.user("haneul"), await api.user("bada")
    chat = await group(haneul, "bada")
    api.link.answer = Published(0x83, "poison", "dead_letter")
    announcer = announcer_of(api)
    await announcer.tell(chat, System("renamed", "haneul", title="하나"))
    assert await api.parts.stores.notices.of_chat(chat, 10) == []
