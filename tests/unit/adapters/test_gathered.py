"""Many who ask at once share a question, and no answer is older than who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from adapters.gathered import MOST, Gathered
from chat.errors import Unavailable


class Store:
    """Knows which keys hold, and answers when it is let."""

    def __init__(self) -> None:
        self.holding = {"김", "lee"}
        self.asked: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails = False

    async def ask(self, keys: Sequence[str]) -> set[str]:
        self.asked.append(list(keys))
        answer = self.holding & set(keys)
        await self.gate.wait()
        if self.fails:
            raise Unavailable("away")
        return answer


async def test_a_burst_is_one_question() -> None:
    store = Store()
    gathered = Gathered(store.ask)
    answers = await asyncio.gather(*(gathered.holds(key) for key in ("lee", "park", "김", "lee")))
    assert answers == [True, False, True, True]
    assert store.asked == [["lee", "park", "김"]]


async def test_who_asks_while_a_question_is_under_way_gets_an_answer_of_their_own() -> None:
    store = Store()
    gathered = Gathered(store.ask)
    store.gate.clear()
    early = asyncio.create_task(gathered.holds("lee"))
    await asyncio.sleep(0.01)
    store.holding.clear()  # after the first question was asked
    late = [asyncio.create_task(gathered.holds("lee")) for _ in range(3)]
    await asyncio.sleep(0)
    store.gate.set()
    assert await early is True
    assert await asyncio.gather(*late) == [False] * 3
    assert store.asked == [["lee"], ["lee"]]


async def test_a_store_that_is_away_is_told_to_all_who_asked_and_to_nobody_after() -> None:
    store = Store()
    gathered = Gathered(store.ask)
    store.fails = True
    failures = await asyncio.gather(*(gathered.holds("lee") for _ in range(2)), return_exceptions=True)
    assert [type(failure) for failure in failures] == [Unavailable, Unavailable]
    store.fails = False
    assert await gathered.holds("lee")


async def test_who_has_gone_is_not_asked_for() -> None:
    store = Store()
    gathered = Gathered(store.ask)
    store.gate.clear()
    first = asyncio.create_task(gathered.holds("lee"))
    await asyncio.sleep(0.01)
    gone = asyncio.create_task(gathered.holds("park"))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    store.gate.set()
    assert await first
    assert await gathered.holds("김")
    assert store.asked == [["lee"], ["김"]]


async def test_a_question_is_of_bounded_size() -> None:
    store = Store()
    gathered = Gathered(store.ask)
    await asyncio.gather(*(gathered.holds(f"u{number}") for number in range(MOST + 1)))
    assert [len(keys) for keys in store.asked] == [MOST, 1]
