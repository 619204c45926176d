"""chat.ports.PushSender on Web Push, over HTTP to the emulator's push service, read by browsers with keys of their own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters import vapid
from adapters.memory.push import MemoryPushSender
from adapters.push_dispatch import FCM_PLATFORMS, WEB_PUSH_PLATFORMS, PushDispatcher
from adapters.push_web import WebPushSender
from chat.models import PushToken, Subscription
from chat.ports import Push
from chat.pushes import PushError, PushRejected, PushRetry, PushTokenDead

AT = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A push service, a key of ours, and browsers."""

    def __init__(self, url: str, directory: Path) -> None:
        vapid.new_key(directory)
        self.url = url
        self.directory = directory
        self.keys = vapid.VapidKeys(directory, "mailto:push@example.org", clock=lambda: self.now)
        self.now = datetime.now(UTC).timestamp()
        self.http = httpx.Client(base_url=url, timeout=30)
        self.sender = WebPushSender(self.keys, timeout=5.0)

    def browser(self, **changes: str) -> PushToken:
        key = self.keys.keys()[0].public
        made = self.http.post("/control/subscriptions", json={"key": key}).raise_for_status().json()
        fields = {"endpoint": made["endpoint"], **made["keys"], "key": key} | changes
        return PushToken("wp-1", "user2", "webpush", AT, subscription=Subscription(**fields))

    def rule(self, token: PushToken, **rule: Any) -> None:
        self.http.post("/control/rules", json={"endpoint": "web", "token": name(token), **rule}).raise_for_status()

    def got(self, token: PushToken) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/control/messages", params={"token": name(token)}).json()[
            "messages"
        ]
        return found


def name(token: PushToken) -> str:
    assert token.subscription is not None
    return token.subscription.endpoint.rpartition("/")[2]


def push(token: PushToken, *, text: str = "안녕하세요 👋", data_only: bool = False) -> Push:
    data = {"chat": "g-1", "seq": "7", "id": "m"}
    return Push(token, "가족", text, data, "g-1", badge=3, data_only=data_only)


@pytest.fixture
def world(fcm_emulator: tuple[str, Path], tmp_path: Path) -> Iterator[World]:
    made = World(fcm_emulator[0], tmp_path)
    for what in ("rules", "messages"):
        made.http.delete(f"/control/{what}").raise_for_status()
    yield made
    made.http.close()


def test_the_browser_that_subscribed_reads_it(world: World) -> None:
    browser = world.browser()
    world.sender.send(push(browser))
    (got,) = world.got(browser)
    assert got["status"] == 201
    headers = got["message"].pop("headers")
    assert got["message"] == {
        "title": "가족",
        "text": "안녕하세요 👋",
        "tag": "g-1",
        "badge": 3,
        "data": {"chat": "g-1", "seq": "7", "id": "m"},
    }
    assert (headers["ttl"], headers["urgency"], len(headers["topic"])) == ("43200", "high", 32)


def test_data_only(world: World) -> None:
    browser = world.browser()
    world.sender.send(push(browser, data_only=True))
    (got,) = world.got(browser)
    assert set(got["message"]) == {"badge", "data", "headers"}


def test_a_page_of_text_fits(world: World) -> None:
    browser = world.browser()
    world.sender.send(push(browser, text="👨‍👩‍👧‍👦" * 28))  # as much as `workers.push.notification` lets through
    assert world.got(browser)[0]["status"] == 201
    with pytest.raises(PushRejected, match="at most"):
        world.sender.send(push(browser, text="가" * 1400))


def test_connections_are_kept(world: World) -> None:
    browser = world.browser()
    for _ in range(3):
        world.sender.send(push(browser))
    assert len({got["peer"] for got in world.got(browser)}) == 1


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        (400, PushRejected),
        (403, PushRejected),
        (404, PushTokenDead),
        (410, PushTokenDead),
        (413, PushRejected),
        (302, PushRejected),
        (408, PushRetry),
        (429, PushRetry),
        (500, PushRetry),
        (503, PushRetry),
    ],
)
def test_each_status_is_one_request(world: World, status: int, ending: type[PushError]) -> None:
    browser = world.browser()
    headers = {"Retry-After": "7"} if status in (429, 503) else {"Location": "/elsewhere"} if status == 302 else {}
    world.rule(browser, status=status, headers=headers)
    with pytest.raises(ending, match=str(status)) as raised:
        world.sender.send(push(browser))
    assert getattr(raised.value, "after", None) == (7.0 if status in (429, 503) else None)
    assert [got["status"] for got in world.got(browser)] == [status]
    world.sender.send(push(browser))


def test_a_browser_that_is_gone(world: World) -> None:
    browser = world.browser()
    world.http.delete(f"/control/subscriptions/{name(browser)}").raise_for_status()
    with pytest.raises(PushTokenDead, match="410"):
        world.sender.send(push(browser))


def test_a_push_service_that_hangs_is_cut(world: World) -> None:
    browser = world.browser()
    world.rule(browser, hang=True)
    with pytest.raises(PushRetry, match="Timeout"):
        WebPushSender(world.keys, timeout=0.5).send(push(browser))


def test_a_push_service_that_is_not_there(world: World, free_port: Any) -> None:
    with pytest.raises(PushRetry, match="ConnectionError"):
        world.sender.send(push(world.browser(endpoint=f"http://127.0.0.1:{free_port()}/push/1")))


def test_only_the_key_that_a_browser_was_given_may_push_there(world: World) -> None:
    older = world.browser()
    vapid.new_key(world.directory)
    world.now += 11
    newer = world.browser()
    for browser in (older, newer):
        world.sender.send(push(browser))
    # The one's pushes with the other's key: the service refuses them.
    assert older.subscription is not None
    assert newer.subscription is not None
    mixed = world.browser(endpoint=older.subscription.endpoint)
    with pytest.raises(PushRejected, match="403"):
        world.sender.send(push(mixed))
    vapid.withdraw(world.directory, vapid.load_keys(world.directory)[1].kid)
    world.now += 11
    with pytest.raises(PushTokenDead, match="withdrawn"):
        world.sender.send(push(older))
    world.sender.send(push(newer))


def test_keys_that_are_all_away_cost_nobody_their_subscription(world: World) -> None:
    browser = world.browser()
    for file in world.directory.iterdir():
        file.unlink()
    world.now += 11
    with pytest.raises(PushRetry, match="no keys"):
        world.sender.send(push(browser))


def test_another_browsers_keys_read_nothing(world: World) -> None:
    one, two = world.browser(), world.browser()
    assert one.subscription is not None
    assert two.subscription is not None
    stolen = world.browser(
        endpoint=one.subscription.endpoint, p256dh=two.subscription.p256dh, auth=two.subscription.auth
    )
    with pytest.raises(PushRejected, match="400"):
        world.sender.send(push(stolen))


def test_what_is_no_subscription(world: World) -> None:
    with pytest.raises(PushRejected, match="no subscription"):
        world.sender.send(push(PushToken("t", "user2", "webpush", AT)))
    with pytest.raises(PushRejected, match="can't be encrypted"):
        world.sender.send(push(world.browser(p256dh="x")))


def test_keys_that_cannot_be_read_are_a_fault_of_now(world: World) -> None:
    browser = world.browser()
    (world.directory / "9-broken.json").write_text("{")
    world.now += 11
    with pytest.raises(PushRetry, match="can't be read"):
        world.sender.send(push(browser))


def test_each_platform_has_its_provider(world: World) -> None:
    fcm, browser = MemoryPushSender(), world.browser()
    both = PushDispatcher({FCM_PLATFORMS: fcm, WEB_PUSH_PLATFORMS: world.sender})
    assert both.platforms == {"android", "ios", "web", "webpush"}
    both.send(push(browser))
    both.send(push(PushToken("t1", "user2", "ios", AT)))
    assert [got.token.token for got in fcm.delivered] == ["t1"]
    assert len(world.got(browser)) == 1
    with pytest.raises(PushRejected, match="no provider"):
        PushDispatcher({FCM_PLATFORMS: fcm}).send(push(browser))


def test_the_emulator_tells_who_breaks_the_providers_rules(world: World) -> None:
    """So that other tests may believe its zeros."""
    busy, bad, gone = world.browser(), world.browser(), world.browser()
    world.rule(busy, status=429, headers={"Retry-After": "60"})
    world.rule(bad, status=400)
    world.rule(gone, status=410)
    for browser in (busy, bad, gone):
        with pytest.raises(PushError):
            world.sender.send(push(browser))
    clean = {"requests": 3, "sent": 0, "early": 0, "again_after_400": 0, "again_after_gone": 0, "repeated": 0}
    assert world.http.get("/control/verdict").json() == clean
    for browser in (busy, bad, gone, gone):
        world.sender.send(push(browser))
    assert world.http.get("/control/verdict").json() == {
        "requests": 7,
        "sent": 4,
        "early": 1,
        "again_after_400": 1,
        "again_after_gone": 2,
        "repeated": 1,
    }
