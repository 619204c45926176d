"""`Idempotency-Key`: the same request twice creates one thing, also when the first one was killed half way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api import clock, idempotency
from api.limits import Rule
from api.testing import PASSWORD, Harness, User
from chat.errors import Unavailable
from chat.ids import new_message_id

GROUP = {"kind": "group", "title": "주말 등산", "members": ["bada"]}


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def post(user: User, path: str, key: str, wish: Any = None) -> httpx.Response:
    return await user.call("POST", path, headers={"Idempotency-Key": key}, json=GROUP if wish is None else wish)


async def chats_of(user: User) -> list[str]:
    return [chat["id"] for chat in (await user.get("/v1/chats")).json()["items"]]


async def pair(api: Harness) -> tuple[User, User]:
    return await api.user("haneul"), await api.user("bada")


async def test_the_same_key_is_answered_the_same_and_creates_once(api: Harness) -> None:
    haneul, bada = await pair(api)
    first = await post(haneul, "/v1/chats", "key-1")
    again = await post(haneul, "/v1/chats", '"key-1"')
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.content, again.content) == (again.content, first.content)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert await chats_of(haneul) == [first.json()["id"]]
    other = await post(haneul, "/v1/chats", "key-2")
    assert other.json()["id"] != first.json()["id"]
    await api.sign_in("haneul")
    renewed = await api.sign_in("haneul")
    assert (await post(renewed, "/v1/chats", "key-1")).content == first.content, "a key is its user's, not its token's"
    theirs = await post(bada, "/v1/chats", "key-1", {"kind": "group"})
    assert theirs.status_code == 201
    assert theirs.json()["created_by"] == "bada"


async def test_the_same_key_with_another_request_is_refused(api: Harness) -> None:
    haneul, _ = await pair(api)
    await post(haneul, "/v1/chats", "key")
    for path, wish in (("/v1/chats", {**GROUP, "title": "다른 방"}), ("/v1/devices", GROUP), ("/v1/chats?x=1", GROUP)):
        assert problem(await post(haneul, path, "key", wish)) == (422, "idempotency_key_reused")
    for key in ("", "a b", "x" * 256, '""'):
        assert problem(await post(haneul, "/v1/chats", key)) == (422, "invalid_idempotency_key")


async def test_what_was_refused_leaves_the_key_free(api: Harness) -> None:
    haneul = await api.user("haneul")
    assert problem(await post(haneul, "/v1/chats", "key")) == (404, "unknown_user")
    await api.user("bada")
    assert (await post(haneul, "/v1/chats", "key")).status_code == 201


async def test_a_secret_is_told_again_and_lies_in_no_store(api: Harness) -> None:
    haneul, _ = await pair(api)
    first = await post(haneul, "/v1/devices", "key", {"name": "온도계"})
    again = await post(haneul, "/v1/devices", "key", {"name": "온도계"})
    assert first.json()["secret"] == again.json()["secret"]
    kept = str(vars(api.stores.idempotency))
    if "_rows" in kept:
        assert first.json()["secret"] not in kept


async def test_without_a_sign_in_a_key_belongs_to_the_address(api: Harness) -> None:
    wish = {"handle": "haneul", "password": PASSWORD, "display_name": "하늘"}
    key = {"Idempotency-Key": "key"}
    answers = [await api.client.post("/v1/auth/register", headers=key, json=wish) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    forged = {"Idempotency-Key": "key", "Authorization": "Bearer nothing"}
    assert problem(await api.client.post("/v1/chats", headers=forged, json=GROUP)) == (401, "invalid_token")


async def test_only_one_of_two_at_once_goes_on(api: Harness) -> None:
    haneul, _ = await pair(api)
    chat = (await haneul.post("/v1/chats", GROUP)).json()["id"]
    gate, entered = asyncio.Event(), asyncio.Event()

    async def wait() -> Any:
        entered.set()
        await gate.wait()
        raise Unavailable("the broker is away")

    api.link.answer = wait
    path, wish = f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": "한 번"}}
    first = asyncio.create_task(post(haneul, path, "key", wish))
    await asyncio.wait_for(entered.wait(), 10)
    second = await post(haneul, path, "key", wish)
    assert problem(second) == (409, "idempotency_in_progress")
    assert second.headers["retry-after"] == "1"
    gate.set()
    assert (await first).status_code == 503
    api.link.answer = None
    assert (await post(haneul, path, "key", wish)).status_code == 201, "what failed may be tried again at once"


class Killed(BaseException):
    """The process is gone: nothing behind this runs."""


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let time pass."""

    def pass_(by: timedelta) -> None:
        moment = clock.now() + by
        monkeypatch.setattr(idempotency, "now", lambda: moment)

    return pass_


async def killed(api: Harness, monkeypatch: pytest.MonkeyPatch, user: User, path: str, wish: Any, *, at: str) -> None:
    """A request whose process is killed when it is about to do something."""

    async def gone(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        where, name = at.rsplit(".", 1)
        patch.setattr({"invalidations": api.invalidations, "keys": api.stores.idempotency}[where], name, gone)
        # A killed process ends no lease either.
        patch.setattr(api.stores.idempotency, "release", gone)
        with pytest.raises(Killed):
            await post(user, path, "key", wish)


@pytest.mark.parametrize("at", ["invalidations.publish", "keys.finish"])
async def test_a_group_that_was_half_made_is_finished(
    api: Harness, monkeypatch: pytest.MonkeyPatch, later: Any, at: str
) -> None:
    haneul, bada = await pair(api)
    await killed(api, monkeypatch, haneul, "/v1/chats", GROUP, at=at)
    (made,) = await chats_of(haneul)
    api.invalidations.published.clear()
    assert problem(await post(haneul, "/v1/chats", "key")) == (409, "idempotency_in_progress")
    later(idempotency.LEASE + timedelta(seconds=1))
    answer = await post(haneul, "/v1/chats", "key")
    assert (answer.status_code, answer.json()["id"]) == (201, made)
    assert await chats_of(haneul) == await chats_of(bada) == [made]
    assert {(one.kind, one.chat) for one in api.invalidations.published} == {("member", made)}
    assert (await post(haneul, "/v1/chats", "key")).content == answer.content


async def test_a_device_that_was_made_is_found_with_its_secret(
    api: Harness, monkeypatch: pytest.MonkeyPatch, later: Any
) -> None:
    haneul, _ = await pair(api)
    await killed(api, monkeypatch, haneul, "/v1/devices", {"name": "온도계"}, at="keys.finish")
    later(idempotency.LEASE + timedelta(seconds=1))
    answer = await post(haneul, "/v1/devices", "key", {"name": "온도계"})
    assert answer.status_code == 201
    (device,) = (await haneul.get("/v1/devices")).json()["items"]
    assert device["id"] == answer.json()["id"]
    proven = await api.parts.authenticator.authenticate(device["id"], answer.json()["secret"].encode())
    assert proven.owner == "haneul"


async def test_the_last_device_that_there_was_room_for_is_found_too(
    api: Harness, monkeypatch: pytest.MonkeyPatch, later: Any
) -> None:
    haneul, _ = await pair(api)
    monkeypatch.setattr(api.parts.settings, "api_max_devices", 1)
    await killed(api, monkeypatch, haneul, "/v1/devices", {"name": "온도계"}, at="keys.finish")
    assert problem(await haneul.post("/v1/devices", {"name": "저울"})) == (409, "too_many_devices")
    later(idempotency.LEASE + timedelta(seconds=1))
    assert (await post(haneul, "/v1/devices", "key", {"name": "온도계"})).status_code == 201


async def test_what_is_refused_while_it_goes_on_goes_on_again(
    api: Harness, monkeypatch: pytest.MonkeyPatch, later: Any
) -> None:
    haneul, _ = await pair(api)
    await killed(api, monkeypatch, haneul, "/v1/chats", GROUP, at="keys.finish")
    later(idempotency.LEASE + timedelta(seconds=1))
    monkeypatch.setattr(api.parts.requests, "_rule", Rule(rate=0.001, burst=100))  # what is used up stays so
    while not api.parts.requests.wait("haneul"):
        api.parts.requests.take("haneul")
    assert problem(await post(haneul, "/v1/chats", "key")) == (429, "rate_limited")
    api.parts.requests._buckets.clear()
    (made,) = await chats_of(haneul)
    assert (await post(haneul, "/v1/chats", "key")).json()["id"] == made


async def test_a_stranger_writes_nothing_down(api: Harness) -> None:
    answer = await api.client.post("/v1/chats", json=GROUP, headers={"Idempotency-Key": "key"})
    assert answer.status_code == 401
    if hasattr(api.stores.idempotency, "rows"):
        assert api.stores.idempotency.rows == {}


async def test_a_key_is_forgotten(api: Harness, later: Any) -> None:
    haneul, _ = await pair(api)
    first = await post(haneul, "/v1/chats", "key")
    later(timedelta(seconds=api.parts.settings.api_idempotency_seconds + 1))
    again = await post(haneul, "/v1/chats", "key")
    assert again.json()["id"] != first.json()["id"]
