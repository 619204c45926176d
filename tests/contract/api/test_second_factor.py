"""Signing in with a second factor, on memory and MongoDB."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import replace

import httpx
import pytest

from adapters.totp import STEP_SECONDS, code_at
from api.limits import Limits
from api.second_factor.endpoints import second_factors
from api.second_factor.service import SecondFactors
from api.testing import PASSWORD, Harness, User
from chat.errors import Unavailable

PATH = "/v1/me/second-factor"


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def step(self, number: int = 0) -> int:
        return int(self.now) // STEP_SECONDS + number


@pytest.fixture
def clock(api: Harness) -> Clock:
    made = Clock()

    async def on_this_clock() -> SecondFactors:
        return replace(await second_factors(api.parts), clock=lambda: made.now)

    api.app.dependency_overrides[second_factors] = on_this_clock
    return made


class App:
    """An authenticator app."""

    def __init__(self, clock: Clock, secret: str) -> None:
        self.clock, self.secret = clock, base64.b32decode(secret)

    def code(self, number: int = 0) -> str:
        return code_at(self.secret, self.clock.step(number))


async def token(api: Harness, otp: str | None = None, password: str = PASSWORD) -> httpx.Response:
    form = {"grant_type": "password", "username": "haneul", "password": password, **({"otp": otp} if otp else {})}
    return await api.client.post("/v1/auth/token", data=form)


async def enrolled(api: Harness, clock: Clock) -> tuple[User, App, list[str]]:
    haneul = await api.user("haneul")
    begun = await haneul.post(PATH, {"password": PASSWORD})
    assert begun.status_code == 201
    app = App(clock, begun.json()["secret"])
    assert (await token(api)).status_code == 200  # it is not confirmed
    assert (await haneul.post(f"{PATH}/confirm", {"code": "000000"})).json()["code"] == "wrong_code"
    codes = (await haneul.post(f"{PATH}/confirm", {"code": app.code()})).raise_for_status().json()["recovery_codes"]
    assert len(set(codes)) == 10
    return haneul, app, codes


async def test_a_sign_in_needs_a_code_that_works_once(api: Harness, clock: Clock) -> None:
    haneul, app, _ = await enrolled(api, clock)
    assert (await haneul.get(PATH)).json() == {"enabled": True, "recovery_codes": 10}
    asked = await token(api)
    assert (asked.status_code, asked.json()["code"], asked.json()["error"]) == (403, "mfa_required", "mfa_required")
    assert (await token(api, app.code())).json()["code"] == "invalid_grant"  # it confirmed the factor
    clock.now += STEP_SECONDS
    assert (await token(api, app.code())).status_code == 200
    assert (await token(api, app.code())).json()["code"] == "invalid_grant"
    assert (await token(api, app.code(-1))).json()["code"] == "invalid_grant"
    assert (await haneul.get("/v1/me")).status_code == 200  # who is signed in stays so


async def test_who_does_not_know_the_password_learns_nothing_of_it(api: Harness, clock: Clock) -> None:
    _, app, codes = await enrolled(api, clock)
    clock.now += STEP_SECONDS
    await api.user("bada")
    answers = [await token(api, otp, "wrong password") for otp in (None, app.code(), codes[0], "000000")]
    answers += [await token(api, "000000"), await token(api, "하늘")]
    form = {"grant_type": "password", "username": "bada", "password": "wrong password"}
    answers.append(await api.client.post("/v1/auth/token", data=form))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert (await token(api, app.code())).status_code == 200  # none of them was used up


async def test_of_two_with_one_code_one_comes_in(api: Harness, clock: Clock) -> None:
    _, app, _ = await enrolled(api, clock)
    clock.now += STEP_SECONDS
    answers = await asyncio.gather(*(token(api, app.code()) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 401, 401]


async def test_a_recovery_code_stands_for_the_app_once(api: Harness, clock: Clock) -> None:
    haneul, _, codes = await enrolled(api, clock)
    assert (await token(api, codes[3].upper().replace("-", " "))).status_code == 200
    assert (await token(api, codes[3])).json()["code"] == "invalid_grant"
    assert (await haneul.get(PATH)).json()["recovery_codes"] == 9


async def test_it_is_removed_with_password_and_code(api: Harness, clock: Clock) -> None:
    haneul, app, codes = await enrolled(api, clock)
    clock.now += STEP_SECONDS
    for wish, code in [
        ({"password": "wrong password", "code": app.code()}, "wrong_password"),
        ({"password": PASSWORD, "code": "000000"}, "wrong_code"),
        ({"password": PASSWORD}, "invalid_request"),
    ]:
        assert (await haneul.post(f"{PATH}/remove", wish)).json()["code"] == code
    assert (await haneul.post(f"{PATH}/remove", {"password": PASSWORD, "code": codes[0]})).status_code == 204
    assert (await token(api)).status_code == 200
    assert (await haneul.get(PATH)).json() == {"enabled": False, "recovery_codes": 0}
    again = await haneul.post(f"{PATH}/remove", {"password": PASSWORD, "code": codes[1]})
    assert (again.status_code, again.json()["code"]) == (404, "no_second_factor")


async def test_what_can_not_be_begun_or_confirmed(api: Harness, clock: Clock) -> None:
    bada = await api.user("bada")
    assert (await bada.post(f"{PATH}/confirm", {"code": "123456"})).json()["code"] == "no_second_factor"
    assert (await bada.post(PATH, {"password": "wrong password"})).json()["code"] == "wrong_password"
    haneul, app, _ = await enrolled(api, clock)
    assert (await haneul.post(PATH, {"password": PASSWORD})).json()["code"] == "second_factor_on"
    assert (await haneul.post(f"{PATH}/confirm", {"code": app.code()})).json()["code"] == "no_second_factor"
    assert (await bada.get(PATH)).json()["enabled"] is False


async def test_the_secret_is_not_in_the_database(api: Harness, clock: Clock) -> None:
    _, app, codes = await enrolled(api, clock)
    stored = await api.stores.second_factors.get("haneul")
    assert stored is not None
    assert app.secret not in base64.urlsafe_b64decode(stored.sealed)
    assert not any(code.replace("-", "") in str(stored) for code in codes)


async def test_codes_of_a_confirmation_that_was_killed_are_not_lost(
    api: Harness, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the codes nobody could take the factor away again who loses the app: the second attempt shows those that count."""
    haneul = await api.user("haneul")
    app = App(clock, (await haneul.post(PATH, {"password": PASSWORD})).json()["secret"])
    request = {"json": {"code": app.code()}, "headers": {"Idempotency-Key": "key"}}
    with monkeypatch.context() as patch:

        async def gone(*_: object) -> None:
            raise Unavailable("the process is about to be killed")

        patch.setattr(Limits, "signed_in", gone)
        assert (await haneul.call("POST", f"{PATH}/confirm", **request)).status_code == 503
    answer = await haneul.call("POST", f"{PATH}/confirm", **request)
    codes = answer.raise_for_status().json()["recovery_codes"]
    assert (await haneul.get(PATH)).json() == {"enabled": True, "recovery_codes": len(codes)}
    assert (await token(api, codes[3])).status_code == 200
    assert (await haneul.post(f"{PATH}/confirm", {"code": app.code(1)})).json()["code"] == "no_second_factor"
