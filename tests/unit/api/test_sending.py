"""REST sends when the way to the bridge is not well, and what its refusals become."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from adapters.memory import memory_stores
from api.messages.refusals import refusal
from api.testing import Harness, running_api
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.ports import Published


async def send(api: Harness, message_id: str | None = None) -> httpx.Response:
    haneul = await api.sign_in("haneul") if await api.stores.users.get("haneul") else await api.user("haneul")
    chat = (await haneul.post("/v1/chats", {"kind": "group"})).json()["id"]
    wish = {"id": message_id or new_message_id(), "body": {"text": "안녕하세요"}}
    return await haneul.post(f"/v1/chats/{chat}/messages", wish)


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert "안녕" not in answer.text
    return answer.status_code, answer.json()["code"]


async def test_without_a_link(api: Harness) -> None:
    api.link.answer = Unavailable("the link is down")
    answer = await send(api)
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_no_answer_in_time(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), api_send_timeout=0.05) as api:

        async def never() -> Published:
            await asyncio.sleep(60)
            return Published(0)

        api.link.answer = never
        assert problem(await send(api)) == (503, "unavailable")


@pytest.mark.parametrize("reason_code", [0x00, 0x10])
async def test_a_puback_alone_is_not_believed(api: Harness, reason_code: int) -> None:
    """Only what can be read back is answered 201 (P1): 0x10 says that nobody was there to store it."""
    api.link.answer = Published(reason_code)
    assert problem(await send(api)) == (503, "unavailable")


async def test_after_a_failure_the_same_id_can_be_sent_again(api: Harness) -> None:
    message_id = new_message_id()
    haneul = await api.user("haneul")
    path = f"/v1/chats/{(await haneul.post('/v1/chats', {'kind': 'group'})).json()['id']}/messages"
    wish = {"id": message_id, "body": {"text": "안녕"}}
    api.link.answer = Unavailable("the link is down")
    assert (await haneul.post(path, wish)).status_code == 503
    api.link.answer = None
    assert [(await haneul.post(path, wish)).status_code for _ in range(2)] == [201, 200]


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (Published(0x97), 503, "unavailable"),
        (Published(0x97, "the bridge is away", "unavailable"), 503, "unavailable"),
        (Published(0x97, "too fast", "rate_limited"), 429, "rate_limited"),
        (Published(0x83, "spam", "refused"), 422, "refused"),
        (Published(0x83, "blocked words", "blocked_words"), 422, "blocked_words"),
        (Published(0x83, "this id is taken", "id_taken"), 409, "id_taken"),
        (Published(0x83, "too many bytes", "too_large"), 413, "too_large"),
        (Published(0x99, "no JSON", "not_json"), 422, "not_json"),
        (Published(0x99), 422, "invalid_envelope"),
        (Published(0x87, "not a member", "unknown_chat"), 404, "unknown_chat"),
        (Published(0x87, "no", "not_a_writer"), 404, "unknown_chat"),
        (Published(0x87, "no message of this chat", "unknown_target"), 404, "unknown_target"),
        (Published(0x87, "only its own sender", "not_yours"), 403, "not_yours"),
        (Published(0x83, "the message has been deleted", "target_deleted"), 422, "target_deleted"),
        (Published(0x87, "readers", "forbidden"), 403, "forbidden"),
        (Published(0x87), 503, "unavailable"),
        (Published(0x80), 503, "unavailable"),
        (Published(0xFF), 503, "unavailable"),
    ],
)
async def test_refusals(api: Harness, answer: Published, status: int, code: str) -> None:
    api.link.answer = answer
    found = await send(api)
    assert problem(found) == (status, code)
    if status not in {503, 404} and answer.reason:
        assert found.json()["detail"] == answer.reason


@pytest.mark.parametrize("reason_code", [0x00, 0x10, 0x7F])
def test_what_is_no_refusal(reason_code: int) -> None:
    assert refusal(Published(reason_code)) is None


async def test_chats_open_while_the_link_and_valkey_are_down(api: Harness) -> None:
    api.link.answer = Unavailable("the link is down")
    api.invalidations.fault = Unavailable("Valkey is down")
    haneul, _ = await api.user("haneul"), await api.user("bada")
    assert (await haneul.post("/v1/chats", {"kind": "group", "members": ["bada"]})).status_code == 201
