"""`PushTokenStore`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from adapters.stores import Stores
from chat.models import PushToken, Subscription

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def token(id_: str, user: str = "user1", at: datetime = AT) -> PushToken:
    return PushToken(token=id_, user=user, platform="android", updated_at=at)


async def test_tokens_of_users(stores: Stores) -> None:
    for it in (token("b"), token("a"), token("c", "user2"), token("d", "user3")):
        await stores.push_tokens.put(it)
    assert await stores.push_tokens.of_users(["user2", "user1", "user9", "user1"]) == {
        "user1": [token("a"), token("b")],
        "user2": [token("c", "user2")],
    }
    assert await stores.push_tokens.of_users([]) == {}


async def test_a_token_belongs_to_the_last_who_brought_it(stores: Stores) -> None:
    await stores.push_tokens.put(token("a:B_c-" * 30))
    moved = token("a:B_c-" * 30, "user2", AT + timedelta(days=1))
    await stores.push_tokens.put(moved)
    assert await stores.push_tokens.of_users(["user1", "user2"]) == {"user2": [moved]}


async def test_a_dropped_token_is_gone(stores: Stores) -> None:
    await stores.push_tokens.put(token("a"))
    await stores.push_tokens.drop("a")
    await stores.push_tokens.drop("a")
    assert await stores.push_tokens.of_users(["user1"]) == {}


async def test_what_an_installation_says_comes_back(stores: Stores) -> None:
    keys = Subscription("https://push.example/구독/1", "BCVxsr7N", "BTBZMqHH", "BA1Hxzyi")
    browser = PushToken("wp-1", "user1", "webpush", AT, data_only=True, subscription=keys)
    await stores.push_tokens.put(browser)
    assert await stores.push_tokens.of_users(["user1"]) == {"user1": [browser]}
    plain = PushToken("wp-1", "user1", "android", AT)
    await stores.push_tokens.put(plain)
    assert await stores.push_tokens.of_users(["user1"]) == {"user1": [plain]}


async def test_what_a_provider_wants_stays_with_the_token_whoever_brings_it(stores: Stores) -> None:
    tokens, later = stores.push_tokens, AT + timedelta(minutes=5)
    await tokens.put(token("a"))
    await tokens.put(token("b"))
    await tokens.hold("a", until=later, failures=3)
    await tokens.hold("nobody", until=later, failures=1)
    await tokens.put(token("a", "user2"))
    assert await tokens.held(["a", "b", "nobody"]) == {"a": later}
    ((held,),) = (await tokens.of_users(["user2"])).values()
    assert (held.held_until, held.failures) == (later, 3)
    await tokens.hold("a", until=None, failures=0)
    assert await tokens.held(["a"]) == await tokens.held([]) == {}
    assert await tokens.of_users(["user2"]) == {"user2": [token("a", "user2")]}
