"""Each way of losing a right, on the real stack: it ends at the broker at once, also for who is away at that moment.

Order is asserted, by `seq`, and never a time: whoever waits, waits for something that has to come.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chat import topics
from chat.ids import new_message_id
from mqtt.reasons import Reason
from stack.testing import RunningStack
from tests.e2e.test_rights import House, Phone, listening

pytestmark = pytest.mark.e2e

DENIED = Reason.NOT_AUTHORIZED

NEWS_SECONDS = 20.0
"""Far below the minute after which broker and bridge look for themselves: it has to be the news that does it."""


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + NEWS_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def house(stack: RunningStack) -> Iterator[House]:
    made = House(stack)
    yield made
    made.http.close()


def ok(house: House, user: str, method: str, path: str, **request: Any) -> Any:
    answer = house.call(user, method, path, **request)
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


def message(text: str = "안녕하세요") -> bytes:
    return json.dumps({"id": new_message_id(), "body": {"text": text}}).encode()


def writes(phone: Phone, chat: str) -> int:
    return phone.write(topics.send(chat, phone.user), message())


def told(house: House, chat: str, user: str) -> list[dict[str, Any]]:
    """What the chat was told, as `user` reads it."""
    items = ok(house, user, "GET", f"/v1/chats/{chat}/messages")["items"]
    return [item["system"] for item in items if item["type"] == "system"]


def test_who_leaves_from_another_device_gets_nothing_more_and_somebody_inherits(house: House) -> None:
    """Ari, the owner, leaves over REST, while one of their phones is connected and another one is away."""
    here, cho = listening(house, house.ari), listening(house, house.cho)
    away = listening(house, house.ari, clean=False)
    before = house.say(house.chat, "아직 함께")
    for phone in (here, away, cho):
        phone.has(house.chat, before)
    away.vanish()
    ok(house, house.ari, "DELETE", f"/v1/chats/{house.chat}/members/{house.ari}")
    until(lambda: house.filters(here) == {topics.messages(house.other)}, "the subscription stays")
    assert writes(cho, house.chat) == 0
    elsewhere = house.say(house.other, "여기에는 아직 있다")
    cho.has(house.chat, before + 3)  # left, the new owner, and what cho wrote
    here.has(house.other, elsewhere)
    back = Phone(house, house.ari, client_id=away.client_id, clean=False)
    assert back.connack.session_present
    back.has(house.other, elsewhere)
    for phone in (here, back):
        phone.pinged()
        assert [seq for chat, seq in phone.came if chat == house.chat and seq > before] == []
        assert writes(phone, house.chat) == DENIED
        assert phone.subscribe(topics.messages(house.chat)) == [DENIED]
    rows = ok(house, house.cho, "GET", f"/v1/chats/{house.chat}/members")["items"]
    assert {row["user"]: row["role"] for row in rows} == {house.bo: "owner", house.cho: "member"}
    assert told(house, house.chat, house.cho) == [
        {"what": "left", "by": house.ari, "users": [house.ari]},
        {"what": "role", "by": house.ari, "users": [house.bo], "role": "owner"},
    ]


def test_who_becomes_a_reader_listens_on_and_writes_no_more(house: House) -> None:
    bo = listening(house, house.bo)
    assert writes(bo, house.chat) == 0
    path = f"/v1/chats/{house.chat}/members/{house.bo}"
    ok(house, house.ari, "PATCH", path, json={"role": "reader"})
    until(lambda: writes(bo, house.chat) == DENIED, "a reader writes on")
    bo.has(house.chat, house.say(house.chat, "읽기만 하세요"))
    assert bo.write(topics.typing(house.chat, house.bo), b"") == DENIED
    ok(house, house.ari, "PATCH", path, json={"role": "member"})
    until(lambda: writes(bo, house.chat) == 0, "a member can't write")


def test_a_channel_is_for_its_readers_to_read(house: House) -> None:
    wish = {"kind": "channel", "title": "알림", "members": [house.bo, house.cho]}
    channel = ok(house, house.ari, "POST", "/v1/chats", json=wish)["id"]
    bo, ari = Phone(house, house.bo), Phone(house, house.ari)
    assert bo.subscribe(topics.messages(channel)) == [1]
    assert (writes(bo, channel), writes(ari, channel)) == (DENIED, 0)
    bo.has(channel, 1)
    ok(house, house.ari, "PUT", f"/v1/chats/{channel}/owner", json={"user": house.bo})
    until(lambda: writes(bo, channel) == 0, "the new owner can't write")
    ok(house, house.bo, "PATCH", f"/v1/chats/{channel}/members/{house.ari}", json={"role": "reader"})
    until(lambda: writes(ari, channel) == DENIED, "the old owner writes on")


def test_who_is_blocked_reaches_nobody_also_while_the_other_is_away(house: House) -> None:
    direct = ok(house, house.bo, "POST", "/v1/chats", json={"kind": "direct", "members": [house.cho]})["id"]
    bo, cho = Phone(house, house.bo), Phone(house, house.cho, clean=False)
    for phone in (bo, cho):
        assert phone.subscribe(topics.messages(direct), topics.messages(house.chat)) == [1, 1]
    assert writes(bo, direct) == 0
    cho.has(direct, 1)
    cho.vanish()
    ok(house, house.cho, "PUT", f"/v1/blocks/{house.bo}")
    until(lambda: writes(bo, direct) == DENIED, "who is blocked writes on")
    stored = ok(house, house.bo, "GET", f"/v1/chats/{direct}")["last_seq"]
    wish = {"id": new_message_id(), "body": {"text": "왜?"}}
    answer = house.call(house.bo, "POST", f"/v1/chats/{direct}/messages", json=wish)
    assert (answer.status_code, answer.json()["code"]) == (403, "blocked")
    again = house.call(house.bo, "POST", "/v1/chats", json={"kind": "group", "members": [house.cho]})
    assert (again.status_code, again.json()["code"]) == (403, "not_reachable")
    in_the_group = house.say(house.chat, "여기서는 다 들려요")
    assert ok(house, house.bo, "GET", f"/v1/chats/{direct}")["last_seq"] == stored
    back = Phone(house, house.cho, client_id=cho.client_id, clean=False)
    back.has(house.chat, in_the_group)
    back.pinged()
    assert [seq for chat, seq in back.came if chat == direct] == list(range(2, stored + 1))
    ok(house, house.cho, "DELETE", f"/v1/blocks/{house.bo}")
    until(lambda: writes(bo, direct) == 0, "who is unblocked can't write")
    back.has(direct, stored + 1)


def test_by_a_link_one_is_in_at_once_and_a_revoked_one_opens_nothing(house: House) -> None:
    made = ok(house, house.ari, "POST", "/v1/chats", json={"kind": "group", "title": "새 방"})["id"]
    link = ok(house, house.ari, "POST", f"/v1/chats/{made}/invitations", json={})
    bo, cho = Phone(house, house.bo), Phone(house, house.cho)
    assert bo.subscribe(topics.messages(made)) == [DENIED]
    ok(house, house.bo, "POST", "/v1/invitations/accept", json={"token": link["token"]})
    assert bo.subscribe(topics.messages(made)) == [1]
    assert writes(bo, made) == 0
    ok(house, house.ari, "DELETE", f"/v1/chats/{made}/invitations/{link['id']}")
    answer = house.call(house.cho, "POST", "/v1/invitations/accept", json={"token": link["token"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_invitation")
    assert cho.subscribe(topics.messages(made)) == [DENIED]
    ok(house, house.ari, "DELETE", f"/v1/chats/{made}/members/{house.bo}")
    until(lambda: house.filters(bo) == set(), "the subscription stays")
    assert writes(bo, made) == DENIED
    asking = ok(house, house.ari, "POST", f"/v1/chats/{made}/invitations", json={"approval": True})
    ok(house, house.cho, "POST", "/v1/invitations/accept", json={"token": asking["token"]})
    assert cho.subscribe(topics.messages(made)) == [DENIED]
    ok(house, house.ari, "PUT", f"/v1/chats/{made}/requests/{house.cho}")
    assert cho.subscribe(topics.messages(made)) == [1]
    assert [event["what"] for event in told(house, made, house.cho)] == ["joined", "left", "joined"]
