"""Odd input that is good, on the real stack: it comes back as it was said; and ids that look like something else find nothing."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from chat import topics
from chat.envelopes import MAX_SEND_BYTES
from chat.ids import new_message_id
from mqtt.reasons import Reason
from stack.testing import RunningStack
from tests.e2e.test_bad_input import People, sized

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def people(stack: RunningStack) -> Iterator[People]:
    made = People(stack)
    yield made
    made.http.close()


def sent(people: People, body: dict[str, Any], *, raw: str | None = None) -> dict[str, Any]:
    """Over MQTT; what history then shows of it."""
    id_ = new_message_id()
    payload = (raw or '{"id":"ID","body":BODY}').replace("ID", id_).replace("BODY", json.dumps(body))
    client = people.client(people.ari)
    assert client.publish(topics.send(people.chat, people.ari), payload.encode()).reason == 0
    client.close()
    items = people.call(people.bo, "GET", f"/v1/chats/{people.chat}/messages").json()["items"]
    (found,) = [item for item in items if item["id"] == id_]
    return dict(found)


@pytest.mark.parametrize(
    "text",
    [
        "🐎🏇🏽👩‍👩‍👧‍👦🇰🇷",
        "NUL \x00 in the middle, and \x7f",
        unicodedata.normalize("NFD", "파발이 달린다"),
        unicodedata.normalize("NFC", "파발이 달린다"),
        "\u202eright to left\u202c, \u200bzero width, \ufeffmark",
        '\'; DROP TABLE messages; --  {"$gt": ""}  <script>alert(1)</script>  %00  ../../etc',
        "",
        " \n\t ",
        "\U0010ffff\u0378",
    ],
)
def test_a_text_comes_back_as_it_was_said(people: People, text: str) -> None:
    assert sent(people, {"text": text})["body"] == {"text": text}


@pytest.mark.parametrize(
    "data",
    [
        {"$where": "1", "a.b": {"$set": 1}, "": None, "\x00": "\x00"},
        [2**63, -(2**63), 2**64, 1e308, 0.1, -0.0, True, None],
        "12",
        12,
        json.loads("[" * 64 + "]" * 64),
    ],
)
def test_data_comes_back_as_it_was_sent(people: People, data: Any) -> None:
    assert sent(people, {"data": data})["body"]["data"] == data


def test_of_a_key_that_comes_twice_the_last_counts(people: People) -> None:
    found = sent(people, {}, raw='{"id":"ID","body":{"text":"하나"},"body":{"text":"둘","text":"셋"}}')
    assert found["body"] == {"text": "셋"}


def test_the_largest_bodies(people: People) -> None:
    text = "가" * ((MAX_SEND_BYTES - 100) // 3)
    payload = json.dumps({"id": new_message_id(), "body": {"text": text}}, ensure_ascii=False).encode()
    assert len(payload) > MAX_SEND_BYTES - 100
    client = people.client(people.ari)
    for good in (payload, sized(MAX_SEND_BYTES)):
        assert client.publish(topics.send(people.chat, people.ari), good).reason == 0
    client.close()
    items = people.call(people.bo, "GET", f"/v1/chats/{people.chat}/messages").json()["items"]
    assert items[-2]["body"]["text"] == text


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"expires_in": "60"}, "invalid_envelope"),
        ({"expires_in": 60.5}, "invalid_envelope"),
        ({"expires_in": 10**30}, "invalid_envelope"),
        ({"mentions": "bo"}, "invalid_envelope"),
        ({"mentions": [{"$gt": ""}]}, "invalid_envelope"),
        ({"mentions": ["*"]}, "invalid_envelope"),
        ({"reply_to": {"$ne": None}}, "invalid_envelope"),
        ({"reply_to": "' OR 1=1"}, "invalid_id"),
        ({"id": {"$gt": ""}}, "invalid_envelope"),
        ({"type": "edit", "target": {"$ne": 1}}, "invalid_envelope"),
        ({"body": {"data": json.loads("[" * 65 + "]" * 65)}}, "invalid_envelope"),
        ({"body": {"text": "\ud800"}}, "not_json"),
    ],
)
def test_what_looks_like_a_query_is_a_wrong_field(people: People, fields: dict[str, Any], code: str) -> None:
    payload = json.dumps({"id": new_message_id(), "body": {"text": "안녕"}} | fields)
    for path in (f"/v1/chats/{people.chat}/messages",):
        answer = people.call(people.ari, "POST", path, content=payload.encode())
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text


INJECTIONS = [
    "$where",
    "{}",
    '{"$gt":""}',
    "..",
    "../other",
    "%00",
    "' OR '1'='1",
    "+",
    "#",
    "a/b",
    "𝐠-1",
    "g-*",
    "-" * 65,
]


@pytest.mark.parametrize("chat", INJECTIONS)
def test_a_chat_id_that_looks_like_something_else_is_unknown(people: People, chat: str) -> None:
    path = f"/v1/chats/{quote(chat, safe='')}"
    for method, rest in (("GET", ""), ("GET", "/messages"), ("GET", "/members"), ("GET", "/pins")):
        answer = people.call(people.ari, method, path + rest)
        assert (answer.status_code, answer.json()["code"]) in {(404, "unknown_chat"), (404, "unknown_path")}, (
            answer.text
        )
    answer = people.call(people.ari, "GET", "/v1/sync", params={"cursor": f"{chat}:0"})
    assert answer.status_code in {200, 422}, answer.text
    if answer.status_code == 200:
        assert [item["reason"] for item in answer.json()["items"]] == ["unknown_chat"]
    if not {"+", "#"} & set(chat):
        client = people.client(people.ari)
        payload = json.dumps({"id": new_message_id(), "body": {"text": "안녕"}}).encode()
        assert client.publish(f"chats/{chat}/send/{people.ari}", payload).reason == Reason.NOT_AUTHORIZED
        assert client.subscribe(f"chats/{chat}/messages") == [Reason.NOT_AUTHORIZED]
        client.close()


@pytest.mark.parametrize("user", ["$where", '{"$gt":""}', "..", "' OR '1'='1", "svc-bridge", "*", "ARI", "x" * 65])
def test_a_user_id_that_looks_like_something_else_is_nobody(people: People, user: str) -> None:
    where = quote(user, safe="")
    for method, path, wish in (
        ("POST", f"/v1/chats/{people.chat}/members", {"members": [user]}),
        ("PATCH", f"/v1/chats/{people.chat}/members/{where}", {"role": "admin"}),
        ("DELETE", f"/v1/chats/{people.chat}/members/{where}", None),
        ("GET", f"/v1/users/{where}", None),
    ):
        answer = people.call(people.ari, method, path, json=wish)
        assert answer.status_code in {404, 405, 422}, (path, answer.text)
    members = people.call(people.ari, "GET", f"/v1/chats/{people.chat}/members").json()["items"]
    assert {member["user"] for member in members} == {people.ari, people.bo}


def test_a_chat_of_one(people: People) -> None:
    chat = people.call(people.ari, "POST", "/v1/chats", json={"kind": "group", "title": "나와의 대화", "members": []})
    assert chat.status_code == 201
    id_ = chat.json()["id"]
    client = people.client(people.ari)
    assert client.subscribe(topics.messages(id_)) == [1]
    payload = json.dumps({"id": new_message_id(), "body": {"text": "메모 📝"}}).encode()
    assert client.publish(topics.send(id_, people.ari), payload).reason == 0
    client.close()
    (item,) = people.call(people.ari, "GET", f"/v1/chats/{id_}/messages").json()["items"]
    assert (item["seq"], item["status"], item["delivered_at"]) == (1, "SENT", None)
    view = people.call(people.ari, "GET", f"/v1/chats/{id_}").json()
    assert (view["unread"], view["last_seq"], view["last_message"]["body"]) == (0, 1, {"text": "메모 📝"})
    assert people.call(people.bo, "GET", f"/v1/chats/{id_}").status_code == 404
