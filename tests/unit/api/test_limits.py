"""What is bounded: bodies, requests at once, tries to sign in, devices, push tokens, members."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.memory import memory_stores
from adapters.memory.ratelimit import MemoryRateLimiter
from api.auth.passwords import WAITING, Passwords
from api.limits import Limits, Rule
from api.testing import PASSWORD, Harness, running_api
from chat.errors import RateLimited, Unavailable
from chat.ids import new_message_id


def send_of(size: int) -> bytes:
    """A message of exactly `size` bytes."""
    empty = f'{{"id":"{new_message_id()}","body":{{"text":""}}}}'
    return empty.replace('""', '"' + "x" * (size - len(empty)) + '"').encode()


async def test_one_byte_too_large_for_a_message(api: Harness) -> None:
    haneul = await api.user("haneul")
    path = f"/v1/chats/{(await haneul.post('/v1/chats', {'kind': 'group'})).json()['id']}/messages"
    fits, exceeds = send_of(65_536), send_of(65_537)
    assert (len(fits), len(exceeds)) == (65_536, 65_537)
    refused = await haneul.call("POST", path, content=exceeds)
    assert (refused.status_code, refused.json()["code"]) == (413, "too_large")
    assert api.link.sent == []
    assert (await haneul.call("POST", path, content=fits)).status_code == 201


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 1024):
        yield b"x" * 1024
    yield b"x" * (total % 1024)


@pytest.mark.parametrize("path", ["/v1/auth/register", "/v1/auth/token", "/v1/chats/c/messages", "/v1/nothing"])
async def test_one_byte_too_large_for_a_body(api: Harness, path: str) -> None:
    haneul = await api.user("haneul")
    limit = api.parts.settings.api_max_body_bytes
    form = {"content-type": "application/x-www-form-urlencoded" if path.endswith("token") else "application/json"}
    announced = await haneul.call("POST", path, content=b"x" * (limit + 1), headers=form)
    assert (announced.status_code, announced.json()["code"]) == (413, "too_large")
    assert announced.headers["content-type"] == "application/problem+json"
    if path != "/v1/nothing":  # nobody reads the body there
        streamed = await haneul.call("POST", path, content=chunks(limit + 1), headers=form)
        assert (streamed.status_code, streamed.json()["code"]) == (413, "too_large")
    assert (
        await haneul.call("POST", path, content=b"x" * limit, headers=form)
    ).status_code != 413 or "messages" in path


@pytest.mark.parametrize("announced", ["-1", "many", "9" * 400, "0"])
async def test_lengths_that_lie(api: Harness, announced: str) -> None:
    answer = await api.client.post(
        "/v1/auth/register",
        content=chunks(300_000),
        headers={"content-length": announced, "content-type": "application/json"},
    )
    assert answer.status_code == 413


async def test_requests_at_once_are_bounded(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), api_max_requests=3) as api:
        gate = asyncio.Event()

        async def wait() -> None:
            await gate.wait()

        api.app.add_api_route("/wait", wait)
        waiting = [asyncio.create_task(api.client.get("/wait")) for _ in range(3)]
        await asyncio.sleep(0.05)
        refused = await api.client.get("/healthz")
        assert (refused.status_code, refused.json()["code"]) == (503, "busy")
        assert refused.headers["retry-after"] == "1"
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200, 200, 200]
        assert (await api.client.get("/healthz")).status_code == 200


async def sign_in(api: Harness, username: str, password: str = "wrong password") -> Any:
    form = {"grant_type": "password", "username": username, "password": password}
    return await api.client.post("/v1/auth/token", data=form)


async def test_guessing_one_password_is_limited(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), login_handle_burst=3, login_handle_rate=0.01) as api:
        for handle in ("haneul", "bada"):
            wish = {"handle": handle, "password": PASSWORD, "display_name": handle}
            assert (await api.client.post("/v1/auth/register", json=wish)).status_code == 201
        assert [(await sign_in(api, "haneul")).status_code for _ in range(4)] == [401, 401, 401, 429]
        right = await sign_in(api, "haneul", PASSWORD)
        assert right.status_code == 429
        assert int(right.headers["retry-after"]) > 0
        assert (await sign_in(api, "bada", PASSWORD)).status_code == 200


async def test_guessing_many_is_limited_by_address(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), login_address_burst=4, login_address_rate=0.01) as api:
        found = [(await sign_in(api, f"user{n}")).status_code for n in range(6)]
        assert found == [401, 401, 401, 401, 429, 429]
        found = [
            (
                await api.client.post(
                    "/v1/auth/register", json={"handle": f"u{n}", "password": PASSWORD, "display_name": "x"}
                )
            ).status_code
            for n in range(5)
        ]
        assert found == [201, 201, 201, 201, 429]


async def test_who_fails_again_and_again_is_locked_and_a_handle_that_nobody_has_just_the_same(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), login_lock_after=4, login_lock_seconds=600) as api:
        user = await api.user("haneul")
        answers = {name: [await sign_in(api, name) for _ in range(5)] for name in ("haneul", "nobody")}
        assert [answer.status_code for answer in answers["haneul"]] == [401, 401, 401, 401, 429]
        for known, unknown in zip(*answers.values(), strict=True):
            assert (known.status_code, known.content) == (unknown.status_code, unknown.content)
        locked = await sign_in(api, "haneul", PASSWORD)
        assert (locked.status_code, locked.json()["code"]) == (429, "rate_limited")
        assert 500 < int(locked.headers["retry-after"]) <= 600
        assert (await user.get("/v1/me")).status_code == 200  # who is signed in stays so
        form = {"grant_type": "refresh_token", "refresh_token": user.tokens["refresh_token"]}
        assert (await api.client.post("/v1/auth/token", data=form)).status_code == 200


async def test_tries_before_a_right_password_do_not_count(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), login_lock_after=3, login_lock_seconds=600) as api:
        await api.user("haneul")
        for _ in range(4):
            assert [(await sign_in(api, "haneul")).status_code for _ in range(2)] == [401, 401]
            assert (await sign_in(api, "haneul", PASSWORD)).status_code == 200


class Down:
    async def take(self, key: str, *, rate: float, burst: float, cost: float = 1.0) -> float:
        del key, rate, burst, cost
        raise Unavailable("Valkey did not answer")

    async def forget(self, key: str) -> None:
        del key
        raise Unavailable("Valkey did not answer")


async def test_without_the_shared_limiter_guessing_is_still_limited_and_nobody_locked_out(tmp_path: Path) -> None:
    async with running_api(
        tmp_path, memory_stores(), limiter=Down(), login_handle_burst=2, login_handle_rate=0.01
    ) as api:
        await api.user("haneul")
        assert [(await sign_in(api, "haneul")).status_code for _ in range(2)] == [401, 429]


async def test_handles_that_nobody_can_have_make_no_bucket() -> None:
    limiter = MemoryRateLimiter()
    limits = Limits(limiter, limiter, handle=Rule(1, 1), address=Rule(1, 100), lock=Rule(1, 100))
    for _ in range(10):
        await limits.sign_in("\0" * 1000, "192.0.2.1")
    await limits.sign_in("haneul", "192.0.2.1")
    with pytest.raises(RateLimited):
        await limits.sign_in("haneul", "192.0.2.1")


async def test_passwords_that_wait_are_bounded() -> None:
    passwords = Passwords(memory_kib=8, passes=1, threads=1)
    tasks = [asyncio.create_task(passwords.hash(f"password {n}")) for n in range(WAITING + 20)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(answer, RateLimited) for answer in found) == 19
    assert await passwords.matches(next(a for a in found if isinstance(a, str)), "password 0")
    passwords.close()


async def test_unknown_users_cost_the_same_work(api: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.user("haneul")
    checked: list[str] = []
    verify = api.parts.passwords._verify
    monkeypatch.setattr(
        api.parts.passwords.__class__,
        "_verify",
        lambda _self, stored, password: (checked.append(stored), verify(stored, password))[1],
    )
    for username in ("haneul", "nobody", "하늘", "x" * 5000):
        await sign_in(api, username)
    assert len(checked) == 4
    assert {stored.rsplit("$", 2)[0] for stored in checked} == {checked[0].rsplit("$", 2)[0]}  # same parameters


async def test_disabled_users_can_not_sign_in_or_refresh(api: Harness) -> None:
    user = await api.user("haneul")
    stored = await api.stores.users.get("haneul")
    assert stored is not None
    stored.disabled = True
    api.stores.users._users["haneul"] = stored  # type: ignore[attr-defined]
    assert (await sign_in(api, "haneul", PASSWORD)).json()["code"] == "invalid_grant"
    form = {"grant_type": "refresh_token", "refresh_token": user.tokens["refresh_token"]}
    assert (await api.client.post("/v1/auth/token", data=form)).json()["code"] == "invalid_grant"
    assert (await user.get("/v1/me")).json()["code"] == "signed_out"


async def test_members_are_bounded(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), api_max_members=3) as api:
        haneul = await api.user("haneul")
        for name in ("bada", "cho", "dan"):
            await api.user(name)
        wish = {"kind": "group", "members": ["bada", "cho", "dan"]}
        assert (await haneul.post("/v1/chats", wish)).json()["code"] == "too_many_members"
        chat = (await haneul.post("/v1/chats", {"kind": "group", "members": ["bada", "cho"]})).json()["id"]
        path = f"/v1/chats/{chat}/members"
        assert (await haneul.post(path, {"members": ["dan"]})).json()["code"] == "too_many_members"
        assert (await haneul.post(path, {"members": ["cho"]})).status_code == 200


async def test_devices_are_bounded(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), api_max_devices=2) as api:
        haneul = await api.user("haneul")
        found = [(await haneul.post("/v1/devices", {"name": "온도계"})).status_code for _ in range(3)]
        assert found == [201, 201, 409]


async def test_push_tokens_are_bounded_by_forgetting_the_oldest(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), api_max_push_tokens=3) as api:
        haneul = await api.user("haneul")
        for name in ("a", "b", "c", "a", "d"):
            answer = await haneul.call("PUT", f"/v1/push-tokens/{name}", json={"platform": "android"})
            assert answer.status_code == 204
            await asyncio.sleep(0.002)
        kept = (await api.stores.push_tokens.of_users(["haneul"]))["haneul"]
        assert {token.token for token in kept} == {"c", "a", "d"}
