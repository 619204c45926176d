"""chat.ports.PushSender on FCM, over HTTP to the emulator."""

from __future__ import annotations

import json
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from google.auth import crypt, jwt
from joserfc.jwk import RSAKey

from adapters.memory.push import MemoryPushSender
from adapters.push_fcm import FcmSender
from adapters.push_http import retry_after
from chat.models import PushToken
from chat.ports import Push, PushSender
from chat.pushes import PushError, PushRejected, PushRetry, PushTokenDead


class Emulator:
    """A running emulator, and what a test may ask of it."""

    def __init__(self, url: str, account: Path) -> None:
        self.url = url
        self.account = account
        self.http = httpx.Client(base_url=url, timeout=10)

    def rule(self, **rule: Any) -> None:
        self.http.post("/control/rules", json=rule).raise_for_status()

    def messages(self, token: str | None = None) -> list[dict[str, Any]]:
        answer = self.http.get("/control/messages", params={"token": token} if token else {})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["messages"]
        return found


@pytest.fixture
def emulator(fcm_emulator: tuple[str, Path]) -> Iterator[Emulator]:
    running = Emulator(*fcm_emulator)
    for what in ("rules", "messages"):
        running.http.delete(f"/control/{what}").raise_for_status()
    yield running
    running.http.close()


@pytest.fixture
def fcm(emulator: Emulator) -> FcmSender:
    return FcmSender(emulator.account, endpoint=emulator.url, timeout=2.0)


def push(
    token: str = "t1", *, platform: str = "android", text: str | None = "안녕하세요 👋", data_only: bool = False
) -> Push:
    return Push(
        token=PushToken(token=token, user="user2", platform=platform, updated_at=datetime(2026, 1, 1, tzinfo=UTC)),
        title="가족 모임",
        text=text,
        data={"chat": "g-1", "seq": "7", "id": "01890a5d-ac96-774b-bcce-b302099a8057"},
        collapse_key="g-1",
        badge=12,
        data_only=data_only,
    )


# Both senders, with one way to say how they shall end: the port's own contract.


@pytest.fixture(params=["memory", "fcm"])
def sender(request: pytest.FixtureRequest) -> tuple[PushSender, Callable[[str, PushError], None]]:
    if request.param == "memory":
        memory = MemoryPushSender()
        return memory, lambda token, error: memory.program(token, [error])
    emulator: Emulator = request.getfixturevalue("emulator")

    def program(token: str, error: PushError) -> None:
        status = {PushTokenDead: 404, PushRejected: 400, PushRetry: 503}[type(error)]
        after = getattr(error, "after", None)
        emulator.rule(token=token, status=status, headers={} if after is None else {"Retry-After": str(int(after))})

    return request.getfixturevalue("fcm"), program


@pytest.mark.parametrize("error", [PushTokenDead("gone"), PushRejected("no"), PushRetry("later", after=7)])
def test_an_ending_concerns_one_token_and_one_try(
    sender: tuple[PushSender, Callable[[str, PushError], None]], error: PushError
) -> None:
    port, program = sender
    program("t1", error)
    port.send(push("t2"))
    with pytest.raises(type(error)) as raised:
        port.send(push("t1"))
    assert getattr(raised.value, "after", None) == getattr(error, "after", None)
    port.send(push("t1"))


# What FCM gets.


def test_the_message(fcm: FcmSender, emulator: Emulator) -> None:
    fcm.send(push())
    (got,) = emulator.messages("t1")
    assert got["status"] == 200
    assert got["message"] == {
        "token": "t1",
        "notification": {"title": "가족 모임", "body": "안녕하세요 👋"},
        "data": {"chat": "g-1", "seq": "7", "id": "01890a5d-ac96-774b-bcce-b302099a8057"},
        "android": {
            "collapse_key": "g-1",
            "priority": "HIGH",
            "notification": {"tag": "g-1", "notification_count": 12},
        },
    }


def test_without_a_text_the_title_stands_alone(fcm: FcmSender, emulator: Emulator) -> None:
    fcm.send(push(text=None))
    assert emulator.messages()[0]["message"]["notification"] == {"title": "가족 모임"}


def test_each_platform_gets_its_own_block_and_collapses_per_chat(fcm: FcmSender, emulator: Emulator) -> None:
    for platform in ("android", "ios", "web", "toaster"):
        fcm.send(push(platform, platform=platform))
    blocks = {got["token"]: set(got["message"]) - {"token", "notification", "data"} for got in emulator.messages()}
    assert blocks == {"android": {"android"}, "ios": {"apns"}, "web": {"webpush"}, "toaster": set()}
    ios = emulator.messages("ios")[0]["message"]["apns"]
    assert ios["headers"]["apns-collapse-id"] == "g-1"
    assert (ios["headers"]["apns-push-type"], ios["headers"]["apns-priority"]) == ("alert", "10")
    assert ios["payload"]["aps"] == {"badge": 12, "sound": "default", "thread-id": "g-1"}
    web = emulator.messages("web")[0]["message"]["webpush"]
    assert len(web["headers"]["Topic"]) == 32
    assert web["notification"]["tag"] == "g-1"


def test_data_only_shows_nothing_and_wakes_the_app(fcm: FcmSender, emulator: Emulator) -> None:
    for platform in ("android", "ios", "web"):
        fcm.send(push(platform, platform=platform, data_only=True))
    for got in emulator.messages():
        assert "notification" not in got["message"]
        assert got["message"]["data"]["chat"] == "g-1"
        assert "안녕" not in str(got["message"])
    android, ios, web = (emulator.messages(platform)[0]["message"] for platform in ("android", "ios", "web"))
    assert android["android"] == {"collapse_key": "g-1", "priority": "HIGH"}
    # Apple's own condition for a push that only wakes the app.
    assert (ios["apns"]["headers"]["apns-push-type"], ios["apns"]["headers"]["apns-priority"]) == ("background", "5")
    assert ios["apns"]["payload"]["aps"] == {"badge": 12, "content-available": 1}
    assert "notification" not in web["webpush"]


# How FCM's answers end.


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (400, PushRejected),
        (401, PushRetry),
        (403, PushRejected),
        (404, PushTokenDead),
        (408, PushRetry),
        (413, PushRejected),
        (429, PushRetry),
        (500, PushRetry),
        (502, PushRetry),
        (503, PushRetry),
    ],
)
def test_each_status(fcm: FcmSender, emulator: Emulator, status: int, ending: type[PushError]) -> None:
    emulator.rule(token="t1", status=status, times=2 if status == 401 else 1)
    with pytest.raises(ending, match=str(status)):
        fcm.send(push())
    # One request and no more, but for the one that a 401 is worth.
    assert [got["status"] for got in emulator.messages("t1")] == [status] * (2 if status == 401 else 1)


def test_a_page_of_a_proxy_is_no_dead_token(fcm: FcmSender, emulator: Emulator) -> None:
    emulator.rule(token="t1", status=404, body="<html>no such page</html>")
    with pytest.raises(PushRejected):
        fcm.send(push())
    emulator.rule(token="t1", status=302, headers={"Location": "/elsewhere"}, body="")
    with pytest.raises(PushRejected):
        fcm.send(push())


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_told_and_never_slept(
    fcm: FcmSender, emulator: Emulator, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcm.send(push())

    def no_sleep(seconds: float) -> None:
        raise AssertionError(f"somebody slept {seconds} s")

    monkeypatch.setattr(time, "sleep", no_sleep)
    emulator.rule(token="t1", status=status, headers={"Retry-After": "120"})
    with pytest.raises(PushRetry) as raised:
        fcm.send(push())
    assert raised.value.after == 120.0
    assert len(emulator.messages("t1")) == 2


def test_retry_after_may_be_a_date(fcm: FcmSender, emulator: Emulator) -> None:
    at = datetime.now(UTC) + timedelta(seconds=100)
    emulator.rule(token="t1", status=429, headers={"Retry-After": format_datetime(at, usegmt=True)})
    with pytest.raises(PushRetry) as raised:
        fcm.send(push())
    assert raised.value.after is not None
    assert 80 < raised.value.after <= 100


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("17", 17.0),
        ("99999999", 86_400.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_reading_retry_after(value: str, seconds: float | None) -> None:
    response = requests.Response()
    response.headers["Retry-After"] = value
    assert retry_after(response, now=100.0) == seconds


def test_an_access_token_that_expired_is_renewed_once(fcm: FcmSender, emulator: Emulator) -> None:
    fcm.send(push())
    emulator.http.delete("/control/access-tokens").raise_for_status()
    fcm.send(push())
    assert [got["status"] for got in emulator.messages("t1")] == [200, 200]


def test_no_access_token_is_a_matter_of_time(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = FcmSender(emulator.account, endpoint=emulator.url, timeout=2.0)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("somebody slept"))
    emulator.rule(endpoint="token", status=503, headers={"Retry-After": "9"})
    with pytest.raises(PushRetry) as raised:
        sender.send(push())
    assert raised.value.after == 9.0
    emulator.rule(endpoint="token", status=400, body='{"error": "internal_failure"}')
    with pytest.raises(PushRetry):
        sender.send(push())
    sender.send(push())


def test_a_provider_that_hangs_or_is_not_there(emulator: Emulator, free_port: Callable[[], int]) -> None:
    hasty = FcmSender(emulator.account, endpoint=emulator.url, timeout=0.3)
    emulator.rule(token="t1", hang=True)
    with pytest.raises(PushRetry):
        hasty.send(push())
    gone = FcmSender(emulator.account, endpoint=f"http://127.0.0.1:{free_port()}", timeout=2.0)
    with pytest.raises(PushRetry):
        gone.send(push())


def test_connections_are_reused(fcm: FcmSender, emulator: Emulator) -> None:
    for status in (200, 400, 404, 429, 200):
        emulator.rule(token="t1", status=status)
        try:
            fcm.send(push())
        except PushError:
            continue
    assert len(emulator.messages("t1")) == 5
    assert len({got["peer"] for got in emulator.messages("t1")}) == 1


def test_threads_share_one_access_token(fcm: FcmSender, emulator: Emulator) -> None:
    together = threading.Barrier(4)

    def send(number: int) -> None:
        together.wait(10)
        fcm.send(push(f"t{number}"))

    # The second answer of the token endpoint would be an error.
    emulator.rule(endpoint="token", status=200)
    emulator.rule(endpoint="token", status=500, times=100)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    assert sorted(got["token"] for got in emulator.messages()) == ["t0", "t1", "t2", "t3"]


def test_a_service_account_that_is_none(tmp_path: Path, emulator: Emulator) -> None:
    with pytest.raises(FileNotFoundError):
        FcmSender(tmp_path / "nothing.json")
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    with pytest.raises(ValueError, match="client_email"):
        FcmSender(wrong)
    # Somebody else's key: the token endpoint says no.
    account = json.loads(emulator.account.read_text())
    account["private_key"] = _another_key()
    wrong.write_text(json.dumps(account))
    with pytest.raises(PushRetry):
        FcmSender(wrong, endpoint=emulator.url).send(push())
    assert emulator.messages() == []


# The emulator's own manners.


def test_the_key_file_is_private_and_stays(emulator: Emulator) -> None:
    assert stat.S_IMODE(emulator.account.stat().st_mode) == 0o600
    account = json.loads(emulator.account.read_text())
    assert account["type"] == "service_account"
    assert account["token_uri"] == f"{emulator.url}/token"


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "https://elsewhere.example/token"},
        {"iss": "somebody@else.example"},
        {"exp": 1_000_000_000},
        {"scope": "https://www.googleapis.com/auth/cloud-platform"},
    ],
)
def test_the_token_endpoint_checks_claims(emulator: Emulator, wrong: dict[str, Any]) -> None:
    account = json.loads(emulator.account.read_text())
    now = int(time.time())
    claims = {
        "iss": account["client_email"],
        "aud": account["token_uri"],
        "iat": now,
        "exp": now + 600,
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
    }
    signer = crypt.RSASigner.from_service_account_info(account)

    def ask(payload: dict[str, Any]) -> int:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": jwt.encode(signer, payload).decode(),
        }
        return emulator.http.post("/token", data=form).status_code

    assert ask(claims) == 200
    assert ask(claims | wrong) == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"not json",
        b'{"message": {}}',
        b'{"message": {"token": 7}}',
        b'{"message": {"token": "t1", "data": {"seq": 7}}}',
        b'{"message": {"token": "t1", "notification": {"body": "' + b"a" * 5_000 + b'"}}}',
    ],
)
def test_the_emulator_is_as_strict_as_fcm(emulator: Emulator, fcm: FcmSender, body: bytes) -> None:
    fcm.send(push())
    response = fcm._api.send_request(body)
    assert response.status_code == 400
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert len(emulator.messages()) == 1


def test_without_a_bearer_token_nothing_is_taken(emulator: Emulator) -> None:
    for headers in ({}, {"Authorization": "Bearer forged"}, {"Authorization": "Basic eA=="}):
        response = emulator.http.post("/v1/projects/pabal-local/messages:send", json={}, headers=headers)
        assert response.status_code == 401
    assert emulator.messages() == []


def _another_key() -> str:
    return RSAKey.generate_key(2048, private=True).as_pem(private=True).decode()
