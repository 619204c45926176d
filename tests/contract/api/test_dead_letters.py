"""`/v1/admin/dead-letters`, on memory and MongoDB."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from adapters.memory.jobs import Job
from api.clock import now
from api.testing import PASSWORD, Harness, User
from chat.envelopes import Body, Event
from chat.ids import message_id_from_ingest, new_message_id
from chat.jobs import PUSH_EVENT, PUSH_QUEUE, ROLL_UP, STATISTICS_QUEUE
from chat.models import DeadLetter
from chat.models import User as Account
from chat.ports import Published

AT = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
PATH = "/v1/admin/dead-letters"


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def admin(api: Harness) -> User:
    hashed = await api.parts.passwords.hash(PASSWORD)
    await api.stores.users.add(
        Account(id="gwanri", display_name="관리자", password_hash=hashed, created_at=AT, admin=True)
    )
    return await api.sign_in("gwanri")


async def park(api: Harness, sender: str = "haneul", **fields: Any) -> tuple[str, str]:
    """A letter; its id and its message id."""
    message = new_message_id()
    text = json.dumps({"id": message, "type": "message", "body": {"text": "안녕하세요 👋"}}, ensure_ascii=False)
    letter = DeadLetter(
        **{
            "id": f"{sender}:{message}",
            "topic": f"chats/g-1/send/{sender}",
            "payload": text.encode(),
            "reason": "builtins.ValueError",
            "tries": 3,
            "at": AT,
            **fields,
        }
    )
    await api.stores.dead_letters.add(letter)
    return letter.id, message


def at(letter: str, action: str = "") -> str:
    return f"{PATH}/{quote(letter, safe='')}{action}"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/x"), ("POST", "/x/replay"), ("DELETE", "/x")])
async def test_only_administrators(api: Harness, method: str, path: str) -> None:
    haneul = await api.user("haneul")
    assert problem(await haneul.call(method, PATH + path)) == (403, "admin_only")


async def test_the_list_is_in_pages_and_holds_nobodys_words(api: Harness) -> None:
    boss = await admin(api)
    ids = sorted([(await park(api))[0] for _ in range(5)])
    found, cursor = [], None
    while True:
        answer = await boss.get(PATH, limit=2, **({"cursor": cursor} if cursor else {}))
        assert "안녕" not in answer.text
        found += answer.json()["items"]
        cursor = answer.json()["next"]
        if cursor is None:
            break
    assert [one["id"] for one in found] == ids
    assert {name: found[0][name] for name in ("chat", "sender", "reason", "tries", "replayable")} == {
        "chat": "g-1",
        "sender": "haneul",
        "reason": "builtins.ValueError",
        "tries": 3,
        "replayable": True,
    }
    assert problem(await boss.get(PATH, cursor="!")) == (422, "invalid_cursor")


async def test_one_letter_with_its_payload(api: Harness) -> None:
    boss = await admin(api)
    letter, _ = await park(api)
    shown = (await boss.get(at(letter))).json()
    assert json.loads(shown["payload"])["body"]["text"] == "안녕하세요 👋"
    assert shown["encoding"] is None
    assert [line["what"] for line in shown["history"]] == ["parked"]
    letter, _ = await park(api, payload=b"\xff\x00")
    shown = (await boss.get(at(letter))).json()
    assert (base64.b64decode(shown["payload"]), shown["encoding"]) == (b"\xff\x00", "base64")
    assert problem(await boss.get(at("nobody:1"))) == (404, "unknown_dead_letter")


async def test_a_replay_goes_the_whole_path_as_its_sender_and_takes_the_letter_away(api: Harness) -> None:
    boss = await admin(api)
    letter, message = await park(api)
    answer = await boss.post(at(letter, "/replay"), None)
    assert answer.json() == {"id": letter, "message": message, "chat": "g-1", "seq": 1, "job": None}
    ((topic, _),) = api.link.sent
    assert topic == "chats/g-1/send/haneul"
    assert problem(await boss.post(at(letter, "/replay"), None)) == (404, "unknown_dead_letter")
    assert len(api.link.sent) == 1


async def test_a_devices_plain_bytes_keep_the_id_that_they_had(api: Harness) -> None:
    boss = await admin(api)
    letter, _ = await park(api, sender="dev-kitchen", payload=b"21.5", properties={"ingest": "b1-7"})
    answer = (await boss.post(at(letter, "/replay"), None)).json()
    assert answer["message"] == message_id_from_ingest("b1-7")
    (event,) = await api.stores.messages.after("g-1", 0, 10)
    assert (event.sender, event.body.data if event.body else None) == ("dev-kitchen", "21.5")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Published(0x83, code="dead_letter"), (422, "dead_letter")),
        (Published(0x87, code="not_a_writer"), (404, "unknown_chat")),
        (Published(0x97), (503, "unavailable")),
    ],
)
async def test_what_is_refused_again_stays_and_says_so(
    api: Harness, answer: Published, expected: tuple[int, str]
) -> None:
    boss = await admin(api)
    letter, _ = await park(api)
    api.link.answer = answer
    assert problem(await boss.post(at(letter, "/replay"), None)) == expected
    history = (await boss.get(at(letter))).json()["history"]
    assert [(line["what"], line["by"]) for line in history] == [
        ("parked", ""),
        ("replayed", "gwanri"),
        ("refused", "gwanri"),
    ]
    assert history[-1]["detail"] == expected[1]


async def test_what_is_neither_message_nor_push_can_only_be_dropped(api: Harness) -> None:
    boss = await admin(api)
    for payload in (b"{}", b"\xff", b'{"message_id": 7}'):
        letter, _ = await park(
            api, id="push:1", topic="chats/g-1/messages", payload=payload, properties={"job": "push"}
        )
        assert (await boss.get(at(letter))).json()["replayable"] is False
        assert problem(await boss.post(at(letter, "/replay"), None)) == (409, "not_replayable")


async def test_a_push_goes_off_again_by_its_messages_mark(api: Harness) -> None:
    boss = await admin(api)
    event = Event(
        type="message", id=new_message_id(), chat="g-1", seq=1, n=1, sender="haneul", at=now(), body=Body(text="안녕")
    )
    await api.stores.messages.insert([event])
    about = {"id": f"push:{event.id}:abc", "topic": "chats/g-1/messages", "properties": {"job": "push"}}
    letter, _ = await park(api, payload=json.dumps({"message_id": event.id, "user": "bada"}).encode(), **about)
    shown = (await boss.get(at(letter))).json()
    assert shown["replayable"] is True
    assert (await boss.post(at(letter, "/replay"), None)).json() == {
        "id": letter,
        "message": event.id,
        "chat": "g-1",
        "seq": 1,
        "job": None,
    }
    (marked,) = await api.stores.messages.push_claims([event.id])
    assert marked.since > marked.event.at
    assert problem(await boss.get(at(letter))) == (404, "unknown_dead_letter")
    assert api.link.sent == []
    gone = json.dumps({"message_id": new_message_id()}).encode()
    letter, _ = await park(api, payload=gone, **about)
    assert problem(await boss.post(at(letter, "/replay"), None)) == (404, "unknown_message")
    history = (await boss.get(at(letter))).json()["history"]
    assert [line["what"] for line in history] == ["parked", "replayed"]


async def test_a_drop_needs_the_id_and_is_for_good(api: Harness) -> None:
    boss = await admin(api)
    letter, _ = await park(api)
    other, _ = await park(api)
    assert (await boss.call("DELETE", at(letter))).status_code == 204
    assert problem(await boss.call("DELETE", at(letter))) == (404, "unknown_dead_letter")
    assert [one["id"] for one in (await boss.get(PATH)).json()["items"]] == [other]


async def test_no_word_of_a_message_is_logged(api: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    boss = await admin(api)
    for act in ("", "/replay"):
        letter, _ = await park(api)
        await boss.call("POST" if act else "DELETE", at(letter, act))
    said = capsys.readouterr()
    assert "안녕" not in said.out + said.err


async def test_a_push_that_was_given_up_gets_its_mark_back_and_its_job(api: Harness) -> None:
    boss = await admin(api)
    message = new_message_id()
    event = Event(type="message", id=message, chat="g-1", seq=1, n=1, sender="haneul", at=AT, body=Body(text="일어나"))
    await api.stores.messages.insert([event])
    letter, _ = await park(
        api, id=f"push:{message}", topic="chats/g-1/messages", kind="push", job=PUSH_EVENT, args=[message]
    )
    (listed,) = (await boss.get(PATH)).json()["items"]
    assert {name: listed[name] for name in ("kind", "job", "args", "replayable", "sender")} == {
        "kind": "push",
        "job": PUSH_EVENT,
        "args": [message],
        "replayable": True,
        "sender": None,
    }
    answer = await boss.post(at(letter, "/replay"), None)
    assert answer.json() == {"id": letter, "message": None, "chat": None, "seq": None, "job": PUSH_EVENT}
    assert list(api.jobs.jobs) == [Job(PUSH_EVENT, (message,), PUSH_QUEUE)]
    assert await api.stores.messages.push_claim(message) is not None
    assert (await boss.get(PATH)).json()["items"] == []


async def test_a_job_is_sent_again_and_what_is_no_job_can_only_be_dropped(api: Harness) -> None:
    boss = await admin(api)
    job, _ = await park(api, id=f"job:{ROLL_UP}", topic="", kind="job", job=ROLL_UP)
    gone, _ = await park(api, id="push:gone", topic="chats/g-1/messages", kind="push", job=PUSH_EVENT, args=["gone"])
    noise, _ = await park(api, id="job::ab", topic="", kind="job", payload=b"\xff\xfe")
    assert (await boss.post(at(job, "/replay"), None)).json()["job"] == ROLL_UP
    assert list(api.jobs.jobs) == [Job(ROLL_UP, (), STATISTICS_QUEUE)]
    assert problem(await boss.post(at(gone, "/replay"), None)) == (409, "not_replayable")
    assert problem(await boss.post(at(noise, "/replay"), None)) == (409, "not_replayable")
    assert (await boss.call("DELETE", at(noise))).status_code == 204
    assert [one["id"] for one in (await boss.get(PATH)).json()["items"]] == [gone]
