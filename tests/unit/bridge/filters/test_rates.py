"""Rates: buckets of senders and chats, shared between bridges, and alone while Valkey is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters import valkey
from adapters.memory.ratelimit import MemoryRateLimiter
from bridge.decode import Draft
from bridge.filters.buckets import Buckets
from bridge.filters.chat_rate import ChatRate
from bridge.filters.duplicates import Duplicates
from bridge.filters.rate import Rate
from bridge.gather import Arrival
from chat.envelopes import Body, Send
from chat.errors import RateLimited, Refused, Unavailable
from chat.ids import new_message_id
from chat.ports import Delivery, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def draft(text: str = "안녕", *, sender: str = "user1", chat: str = "c1", type_: Any = "message") -> Draft:
    delivery = Delivery("", b"", 1, lambda _code, _reason, _name: None)
    return Draft(Arrival(delivery, chat, sender, 0.0), Send(id=new_message_id(), type=type_, body=Body(text=text)))


@pytest.fixture(params=["memory", "valkey"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "memory":
        yield MemoryRateLimiter()
        return
    client = valkey.connect(request.getfixturevalue("valkey_url"))
    await client.flushdb()
    yield valkey.ValkeyRateLimiter(client)
    await client.aclose()


def granted(buckets: Buckets, key: str, tries: int) -> int:
    return sum(buckets.take(key) == 0.0 for _ in range(tries))


def test_a_sender_and_a_chat_have_buckets_of_their_own() -> None:
    clock = Clock()
    rate = Rate(Buckets("send", rate=2, burst=3, clock=clock))
    chat = ChatRate(Buckets("chat", rate=2, burst=3, clock=clock))
    for _ in range(3):
        rate.check(draft())
        chat.check(draft(sender="user2"))
    with pytest.raises(RateLimited) as refused:
        rate.check(draft(chat="c2"))
    assert (refused.value.code, refused.value.retry_after) == ("rate_limited", pytest.approx(0.5))
    with pytest.raises(RateLimited) as refused:
        chat.check(draft(sender="user3"))
    assert refused.value.code == "chat_rate_limited"
    rate.check(draft(sender="user2"))
    chat.check(draft(chat="c2"))
    clock.now += 0.5
    rate.check(draft())
    with pytest.raises(RateLimited):
        rate.check(draft())


async def test_two_bridges_share_a_bucket(limiter: RateLimiter) -> None:
    one, two = (Buckets("send", rate=0.001, burst=10, shared=limiter, clock=Clock()) for _ in range(2))
    assert granted(one, "user1", 6) == 6
    await one.share()
    assert granted(two, "user1", 3) == 3  # of its own copy, until it hears of the others
    await two.share()
    assert granted(two, "user1", 5) == 1
    assert granted(two, "user2", 5) == 5
    await two.share()
    assert granted(one, "user1", 1) == 1  # it has not heard of the last ones, and hears now
    await one.share()
    assert granted(one, "user1", 1) == 0


async def test_what_passed_while_a_charge_was_under_way_is_not_forgotten() -> None:
    class Slow(MemoryRateLimiter):
        async def spend(self, costs: Any, *, rate: float, burst: float) -> dict[str, float]:
            left = await super().spend(costs, rate=rate, burst=burst)
            assert granted(buckets, "user1", 3) == 3
            return left

    buckets = Buckets("send", rate=0.001, burst=10, shared=Slow(), clock=Clock())
    assert granted(buckets, "user1", 4) == 4
    await buckets.share()
    assert granted(buckets, "user1", 10) == 3


async def test_alone_while_the_shared_buckets_are_away_and_charged_afterwards() -> None:
    class Away(MemoryRateLimiter):
        away = True

        async def spend(self, costs: Any, *, rate: float, burst: float) -> dict[str, float]:
            if self.away:
                raise Unavailable("away")
            return await super().spend(costs, rate=rate, burst=burst)

    shared = Away(clock=Clock())
    buckets = Buckets("send", rate=0.001, burst=10, shared=shared, clock=Clock())
    assert granted(buckets, "user1", 20) == 10
    await buckets.share()
    await buckets.share()
    assert granted(buckets, "user1", 5) == 0, "its own copy still counts"
    assert granted(buckets, "user2", 5) == 5
    shared.away = False
    await buckets.share()
    assert await shared.spend({"send:user1": 1e-9, "send:user2": 1e-9}, rate=0.001, burst=10) == pytest.approx(
        {"send:user1": 0.0, "send:user2": 5.0}, abs=0.01
    )


async def test_few_messages_of_many_senders_cost_no_charge() -> None:
    charged: list[str] = []

    class Counting(MemoryRateLimiter):
        async def spend(self, costs: Any, *, rate: float, burst: float) -> dict[str, float]:
            charged.extend(costs)
            return await super().spend(costs, rate=rate, burst=burst)

    buckets = Buckets("send", rate=5_000, burst=10_000, shared=Counting(), clock=Clock())
    for number in range(50):
        buckets.take(f"user{number}")
    granted(buckets, "loud", 100)
    await buckets.share()
    assert charged == ["send:loud"]


def test_buckets_are_bounded() -> None:
    buckets = Buckets("send", rate=0.001, burst=1, clock=Clock(), max_buckets=2)
    for key in ("one", "two", "three"):
        assert granted(buckets, key, 2) == 1
    assert granted(buckets, "three", 1) == 0
    assert granted(buckets, "one", 1) == 1  # was forgotten
    assert len(buckets._due) <= 2


# -- duplicates ----------------------------------------------------------------------------------------------------------


def test_the_same_again_and_again() -> None:
    clock = Clock()
    duplicates = Duplicates(most=3, within=60, clock=clock)
    for chat in ("c1", "c2", "c3"):
        duplicates.check(draft("광고", chat=chat))
    with pytest.raises(Refused) as refused:
        duplicates.check(draft("광고", chat="c4"))
    assert refused.value.code == "duplicate_flood"
    duplicates.check(draft("다른 말"))
    duplicates.check(draft("광고", sender="user2"))
    for _ in range(10):
        duplicates.check(draft("21.5", sender="dev-thermo"))
        duplicates.check(draft("광고", type_="edit"))
    clock.now += 60
    with pytest.raises(Refused):
        duplicates.check(draft("광고"))
    clock.now += 30  # half of what was counted is out of reach
    duplicates.check(draft("광고"))
    clock.now += 151
    for _ in range(3):
        duplicates.check(draft("광고"))


def test_who_repeats_seldom_is_never_a_flood() -> None:
    clock = Clock()
    duplicates = Duplicates(most=3, within=60, clock=clock)
    for _ in range(50):
        duplicates.check(draft("좋은 아침"))
        clock.now += 31


def test_attachments_and_ciphers_count_by_what_they_are() -> None:
    duplicates = Duplicates(most=1, within=60, clock=Clock())
    one, two = draft(), draft()
    one.send.body, two.send.body = Body(cipher="a"), Body(cipher="b")
    duplicates.check(one)
    duplicates.check(two)
    with pytest.raises(Refused):
        duplicates.check(one)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.filters.duplicates.MAX_REMEMBERED", 10)
    duplicates = Duplicates(most=2, within=60, clock=Clock())
    for number in range(100):
        duplicates.check(draft(str(number)))
    assert len(duplicates._now) + len(duplicates._before) <= 20
