"""`/v1/web-push`, on memory and MongoDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters import vapid
from adapters.memory import memory_stores
from api.testing import Harness, running_api
from api.web_push.service import is_known

PATH = "/v1/web-push/subscriptions"
KEYS = {
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}
BROWSER = {
    "endpoint": "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABo",
    "expirationTime": None,
    "keys": KEYS,
}


async def test_a_browser_becomes_a_push_token(tmp_path: Path) -> None:
    directory = tmp_path / "vapid"
    vapid.new_key(directory)
    (key,) = vapid.load_keys(directory)
    async with running_api(tmp_path, memory_stores(), vapid_dir=directory) as api:
        haneul, bada = await api.user("haneul"), await api.user("bada")
        assert (await haneul.get("/v1/web-push/key")).json() == {"key": key.public}
        token = (await haneul.call("PUT", PATH, json=BROWSER)).json()["token"]
        again = await haneul.call("PUT", PATH, json=BROWSER | {"key": key.public})
        assert again.json() == {"token": token}
        (stored,) = (await api.stores.push_tokens.of_users(["haneul"]))["haneul"]
        assert (stored.token, stored.platform) == (token, "webpush")
        assert stored.subscription is not None
        assert (stored.subscription.endpoint, stored.subscription.key) == (BROWSER["endpoint"], key.public)
        assert (await bada.call("PUT", PATH, json=BROWSER)).json() == {"token": token}
        assert set(await api.stores.push_tokens.of_users(["haneul", "bada"])) == {"bada"}
        assert (await bada.call("DELETE", f"/v1/push-tokens/{token}")).status_code == 204
        assert await api.stores.push_tokens.of_users(["haneul", "bada"]) == {}
        await _refused(api)


async def _refused(api: Harness) -> None:
    mori = await api.user("mori")
    other = KEYS["p256dh"]  # a key, but none of the server's
    wishes: list[tuple[dict[str, Any], str]] = [
        (BROWSER | {"endpoint": "https://10.0.0.1/push"}, "unknown_push_service"),
        (BROWSER | {"endpoint": "http://updates.push.services.mozilla.com/1"}, "unknown_push_service"),
        (BROWSER | {"key": other}, "unknown_push_key"),
        (BROWSER | {"keys": KEYS | {"auth": "AAAA"}}, "invalid_subscription"),
        (BROWSER | {"keys": KEYS | {"p256dh": "x"}}, "invalid_subscription"),
        (BROWSER | {"keys": {"auth": "x"}}, "invalid_request"),
        ({"keys": KEYS}, "invalid_request"),
        (BROWSER | {"endpoint": "https://push.example/안녕"}, "invalid_request"),
    ]
    for wish, code in wishes:
        answer = await mori.call("PUT", PATH, json=wish)
        assert (answer.status_code, answer.json()["code"]) == (422, code), wish
    assert await api.stores.push_tokens.of_users(["mori"]) == {}


async def test_without_keys_it_is_off(api: Harness) -> None:
    haneul = await api.user("haneul")
    for answer in (await haneul.get("/v1/web-push/key"), await haneul.call("PUT", PATH, json=BROWSER)):
        assert (answer.status_code, answer.json()["code"]) == (404, "web_push_off")


SERVICES = ["https://push.example", "https://*.notify.example", "http://127.0.0.1:8099"]


@pytest.mark.parametrize(
    ("endpoint", "known"),
    [
        ("https://push.example/1", True),
        ("https://PUSH.example/1", True),
        ("https://push.example:443/1", False),
        ("https://push.example:8443/1", False),
        ("http://push.example/1", False),
        ("https://push.example.evil.example/1", False),
        ("https://evil.example/push.example", False),
        ("https://push.example@evil.example/1", False),
        ("https://evil.example\\.notify.example/1", False),
        ("https://evil.example\\push.example/1", False),
        ("https://user@push.example/1", False),
        ("https://push.example/1#x", False),
        ("https://a.push.example/1", False),
        ("https://a.notify.example/1", True),
        ("https://a.b.notify.example/1", True),
        ("https://notify.example/1", False),
        ("https://evilnotify.example/1", False),
        ("http://127.0.0.1:8099/push/1", True),
        ("http://127.0.0.1:27017/", False),
        ("https://push.example:99999/1", False),
        ("https://[::1/1", False),
        ("file:///etc/passwd", False),
        ("", False),
    ],
)
def test_only_named_push_services_are_connected_to(endpoint: str, known: bool) -> None:
    assert is_known(endpoint, SERVICES) is known
