"""`/v1/me/push-preferences`, on memory and MongoDB."""

from __future__ import annotations

from typing import Any

import pytest

from api.testing import Harness
from chat.push_preferences import PushPreferences, QuietHours, Shows

PATH = "/v1/me/push-preferences"
NIGHT = {"start": "22:00", "end": "07:00", "zone": "Asia/Seoul"}


async def test_everybody_has_preferences_and_their_own(api: Harness) -> None:
    haneul, bada = await api.user("haneul"), await api.user("bada")
    default = {"shows": "text", "mentions": True, "quiet": None}
    assert (await haneul.get(PATH)).json() == default
    wanted = {"shows": "nothing", "mentions": False, "quiet": NIGHT}
    answer = await haneul.call("PUT", PATH, json=wanted)
    assert (answer.status_code, answer.json()) == (200, wanted)
    assert (await haneul.get(PATH)).json() == wanted
    assert (await bada.get(PATH)).json() == default
    assert await api.stores.push_preferences.of_users(["haneul", "bada"]) == {
        "haneul": PushPreferences("haneul", Shows.NOTHING, mentions=False, quiet=QuietHours(**NIGHT))
    }
    assert (await haneul.call("PUT", PATH, json={"shows": "sender"})).json() == default | {"shows": "sender"}


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"quiet": NIGHT | {"zone": "Asia/Pyeongyang"}}, "unknown_time_zone"),
        ({"quiet": NIGHT | {"zone": "../../etc/passwd"}}, "unknown_time_zone"),
        ({"quiet": NIGHT | {"end": "22:00"}}, "empty_quiet_hours"),
        ({"quiet": NIGHT | {"start": "24:00"}}, "invalid_request"),
        ({"quiet": NIGHT | {"start": "9:00"}}, "invalid_request"),
        ({"quiet": NIGHT | {"start": "22:00:30"}}, "invalid_request"),
        ({"quiet": {"start": "22:00", "end": "07:00"}}, "invalid_request"),
        ({"shows": "everything"}, "invalid_request"),
        ({"mentions": "yes"}, "invalid_request"),
        ({"loud": True}, "invalid_request"),
    ],
)
async def test_wishes_that_nobody_can_keep(api: Harness, wish: dict[str, Any], code: str) -> None:
    haneul = await api.user("haneul")
    answer = await haneul.call("PUT", PATH, json=wish)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await api.stores.push_preferences.of_users(["haneul"]) == {}


async def test_an_installation_says_whether_it_makes_its_own_notifications(api: Harness) -> None:
    haneul = await api.user("haneul")
    wish = {"platform": "ios", "data_only": True}
    assert (await haneul.call("PUT", "/v1/push-tokens/t:1", json=wish)).status_code == 204
    (token,) = (await api.stores.push_tokens.of_users(["haneul"]))["haneul"]
    assert token.data_only
    assert (await haneul.call("PUT", "/v1/push-tokens/t:1", json={"platform": "ios"})).status_code == 204
    (token,) = (await api.stores.push_tokens.of_users(["haneul"]))["haneul"]
    assert not token.data_only
