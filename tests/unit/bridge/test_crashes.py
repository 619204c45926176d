"""A bridge that is killed between any two steps (P1 to P4, P6): whoever was not acknowledged sends again, to another bridge.

The story is a message, an edit, three messages of two senders and a receipt. It is run once for each call of a store that it makes, and
the bridge dies there: just before the call has an effect, or just after it, with the answer on its way. If the story ends before that,
the bridge dies then, with whatever it has not written yet.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from bridge.ingest import Ingest
from chat import topics
from chat.envelopes import Body
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.ports import Delivery

MAX_CALLS = 60


class Grave:
    """Counts the calls of the stores, and stops for ever at one of them."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._left = at
        self._after = after
        self.reached = asyncio.Event()

    def around(self, store: Any) -> Any:
        grave = self

        class Mortal:
            def __getattr__(self, name: str) -> Any:
                return grave._mortal(getattr(store, name))

        return Mortal()

    def _mortal(self, method: Any) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            self._left -= 1
            dies = self._left == 0
            if dies and not self._after:
                await self._die()
            answer = await method(*args, **options)
            if dies:
                await self._die()
            return answer

        return call

    async def _die(self) -> None:
        self.reached.set()
        await asyncio.Event().wait()


class Story:
    """What the clients do; each publish is sent again until it is acknowledged."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.first = new_message_id()
        self.edit = new_message_id()
        self.rest = [("user1", new_message_id()), ("user2", new_message_id()), ("user1", new_message_id())]
        self.acknowledged: set[str] = set()

    async def tell(self) -> None:
        await self._send("user1", self.first)
        await self._send("user1", self.edit, type="edit", target=self.first, body=Body(text="고침"))
        await asyncio.gather(*(self._send(user, id_) for user, id_ in self.rest))
        await self._insist(lambda: self.world.publish(topics.ack("c1", "user2"), {"seen": 2}))

    async def _send(self, user: str, id_: str, **fields: Any) -> None:
        await self._insist(lambda: self.world.send("c1", user, id_=id_, **fields))
        self.acknowledged.add(id_)

    async def _insist(self, publish: Callable[[], Any]) -> None:
        while True:
            try:
                published = await publish()
            except Unavailable:
                await asyncio.sleep(0.002)
                continue
            assert published.reason_code == 0
            return


async def kill(world: Any) -> None:
    """kill -9: nothing is finished, the connection is gone."""
    world.bridge_link.up = False
    world.bridge.ingest._closed = True
    world.task.cancel()
    await asyncio.gather(world.task, return_exceptions=True)
    for task in list(world.bridge.ingest._tasks):
        task.cancel()


async def live_and_die(make_world: Callable[..., Any], at: int, *, after: bool) -> tuple[Story, Any, bool]:
    """The story with a death at one call; a living bridge on the same stores, and whether it came that far."""
    grave = Grave(at, after=after)
    plain = (await make_world()).stores
    mortal = dataclasses.replace(
        plain,
        messages=grave.around(plain.messages),
        chats=grave.around(plain.chats),
        receipts=grave.around(plain.receipts),
    )
    doomed = await make_world(mortal)
    story = Story(doomed)
    telling = asyncio.create_task(story.tell())
    dying = asyncio.create_task(grave.reached.wait())
    await asyncio.wait({telling, dying}, return_when=asyncio.FIRST_COMPLETED)
    died = grave.reached.is_set()
    heir = await make_world(plain, doomed.broker)
    acknowledged = set(story.acknowledged)
    stored = {event.id for event in await plain.messages.after("c1", 0, 100)}
    assert acknowledged <= stored  # P1, at the moment of death
    if died:
        story.world = heir
        await kill(doomed)
    dying.cancel()
    await telling
    if not died:
        await kill(doomed)
    return story, heir, died


async def check(story: Story, world: Any) -> None:
    history = await world.history("c1")
    assert [event.seq for event in history] == list(range(1, len(history) + 1))
    ids = [event.id for event in history]
    assert sorted(ids) == sorted([story.first, story.edit, *(id_ for _, id_ in story.rest)])
    assert {event.id for event in world.fanned("c1")} == set(ids)
    assert history[0].body == Body(text="고침")
    assert history[0].edited_at == next(event.at for event in history if event.id == story.edit)
    # Whoever takes up the chat makes good what the dead one left of the senders' watermarks; here it is the next message that does it.
    assert (await world.send("c1", "dev-thermo", raw=b"21.5", ingest="later")).reason_code == 0
    async with asyncio.timeout(5):
        for user in ("user1", "user2"):
            sent = [event.seq for event in history if event.sender == user]
            while (member := await world.stores.chats.member("c1", user)).seen_seq < sent[-1]:
                await asyncio.sleep(0.002)
            assert member.seen_seq == sent[-1]
            assert member.seen_seq <= member.delivered_seq <= len(history)
            assert member.seen_n == history[member.seen_seq - 1].n


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_death_at_any_call_is_harmless(make_world: Callable[..., Any], after: bool) -> None:
    deaths = 0
    for at in range(1, MAX_CALLS):
        story, world, died = await live_and_die(make_world, at, after=after)
        await check(story, world)
        deaths += died
        if not died:
            break
    assert deaths >= 12


async def test_the_check_fails_for_a_bridge_that_acknowledges_before_it_stores(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Ingest.offer

    def offer(self: Ingest, delivery: Delivery, *, chat: str, sender: str) -> None:
        delivery.settle(0, None, None)
        real(self, delivery, chat=chat, sender=sender)

    async def all_deaths() -> None:
        for at in range(1, MAX_CALLS):
            story, world, _ = await live_and_die(make_world, at, after=False)
            await check(story, world)

    monkeypatch.setattr(Ingest, "offer", offer)
    with pytest.raises(AssertionError):
        await all_deaths()
