"""Ingest when something fails: transient faults, other bridges, holes, poison, a lost link (P1 to P4, P9)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.memory.messages import MemoryMessages
from bridge.ingest import WORTH
from bridge.order import Order
from chat.envelopes import Body, Event
from chat.errors import BadInput, Unavailable
from chat.ids import new_message_id
from chat.ports import Inserted, Published

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Hook = Callable[[Sequence[Event]], None]


def once(error: Exception) -> Hook:
    left = [error]

    def fail(_events: Sequence[Event]) -> None:
        if left:
            raise left.pop()

    return fail


def event(seq: int, n: int, *, id_: str | None = None, sender: str = "user2", chat: str = "c1") -> Event:
    return Event("message", id_ or new_message_id(), chat, seq, n, sender, NOW, body=Body(text="남"))


def store_directly(world: Any, *events: Event) -> None:
    """What another bridge writes, past the hooks."""
    for one in events:
        assert world.messages._insert(one, push=False)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def assert_dense(history: Sequence[Event]) -> None:
    assert [one.seq for one in history] == list(range(1, len(history) + 1))


async def test_the_acknowledgement_waits_for_a_store_that_is_away(world: Any) -> None:
    failures = 3

    def away(_events: Sequence[Event]) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise Unavailable("no primary")

    world.messages.before = away
    answers = await asyncio.gather(*(world.send("c1", "user1", str(k)) for k in range(20)))
    assert {answer.reason_code for answer in answers} == {0}
    history = await world.history("c1")
    assert [one.body.text for one in history] == [str(k) for k in range(20)]
    assert_dense(history)
    assert world.count("retries", step="commit") == 3


async def test_a_write_whose_answer_was_lost_stores_nothing_twice(world: Any) -> None:
    world.messages.after_insert = once(Unavailable("the answer was lost"))
    answers = await asyncio.gather(*(world.send("c1", "user1", str(k)) for k in range(20)))
    assert {answer.reason_code for answer in answers} == {0}
    history = await world.history("c1")
    assert [one.body.text for one in history] == [str(k) for k in range(20)]
    assert_dense(history)
    assert world.fanned("c1") == history


async def test_half_a_write_leaves_no_hole(world: Any) -> None:
    """The connection broke within an unordered write: the second and fourth of its five events are missing."""

    def half(events: Sequence[Event]) -> None:
        if len(events) != 5:
            return
        store_directly(world, *(one for place, one in enumerate(events) if place not in (1, 3)))
        world.messages.before = lambda _events: None
        raise Unavailable("connection reset")

    world.messages.before = half
    answers = await asyncio.gather(*(world.send("c1", "user1", str(k)) for k in range(6)))
    assert {answer.reason_code for answer in answers} == {0}
    history = await world.history("c1")
    assert_dense(history)
    assert [(one.seq, one.n) for one in history if one.type == "void"] == [(3, 2), (5, 3)]
    assert sorted(one.body.text for one in history if one.type == "message") == ["0", "1", "2", "3", "4", "5"]
    assert {one.seq for one in world.fanned("c1")} == {one.seq for one in history}
    assert world.count("voids") == 2


async def test_a_slot_that_fails_below_stored_ones_becomes_a_void(world: Any) -> None:
    """Another bridge stores the id of the second message after we have looked for repeats."""
    await world.send("c2", "user3")  # something to be fanned out elsewhere
    ids = [new_message_id() for _ in range(4)]
    taken = event(1, 1, id_=ids[1], sender="user1", chat="elsewhere")

    def race(events: Sequence[Event]) -> None:
        if len(events) > 1:
            store_directly(world, taken)
            world.messages.before = lambda _events: None

    world.messages.before = race
    answers = await asyncio.gather(*(world.send("c1", "user1", id_=id_) for id_ in ids))
    assert [answer.code for answer in answers] == [None, "id_taken", None, None]
    history = await world.history("c1")
    assert_dense(history)
    assert [one.type for one in history] == ["message", "void", "message", "message"]
    assert history[1].sender == "svc-bridge"
    assert history[1].n == history[0].n
    assert sorted(one.seq for one in world.fanned("c1")) == [1, 2, 3, 4]
    assert (await world.send("c1", "user1")).reason_code == 0
    assert_dense(await world.history("c1"))


async def test_a_last_slot_that_fails_is_used_again(world: Any) -> None:
    ids = [new_message_id() for _ in range(2)]

    def race(_events: Sequence[Event]) -> None:
        store_directly(world, event(1, 1, id_=ids[1], sender="user1", chat="elsewhere"))
        world.messages.before = lambda _events: None

    world.messages.before = race
    answers = await asyncio.gather(*(world.send("c1", "user1", id_=id_) for id_ in ids))
    assert [answer.code for answer in answers] == [None, "id_taken"]
    await world.send("c1", "user1")
    assert [(one.seq, one.n, one.type) for one in await world.history("c1")] == [(1, 1, "message"), (2, 2, "message")]


async def test_a_seq_that_another_bridge_has_used_is_given_anew(world: Any) -> None:
    await world.send("c1", "user1", "0")
    store_directly(world, event(2, 2), event(3, 3))
    answers = await asyncio.gather(*(world.send("c1", "user1", str(k)) for k in (1, 2, 3)))
    assert {answer.reason_code for answer in answers} == {0}
    history = await world.history("c1")
    assert_dense(history)
    assert [one.n for one in history] == [1, 2, 3, 4, 5, 6]
    mine = [one.body.text for one in history if one.sender == "user1"]
    assert sorted(mine) == ["0", "1", "2", "3"]
    assert world.count("seq_taken") >= 1


async def test_two_bridges_on_one_chat_stay_dense(make_world: Callable[..., Any]) -> None:
    one = await make_world()
    two = await make_world(one.stores)

    async def talk(world: Any, user: str) -> None:
        for k in range(40):
            answers = await asyncio.gather(*(world.send("c1", user, f"{k}.{j}") for j in range(3)))
            assert {answer.reason_code for answer in answers} == {0}

    await asyncio.gather(talk(one, "user1"), talk(two, "user2"))
    history = await one.history("c1")
    assert_dense(history)
    assert sum(e.type == "message" for e in history) == 240
    assert [e.n for e in history] == sorted(e.n for e in history)
    told = {e.seq for e in one.fanned("c1")} | {e.seq for e in two.fanned("c1")}
    assert told >= {e.seq for e in history if e.type == "message"}


async def test_a_repeat_that_looks_new_is_found_by_the_fence(make_world: Callable[..., Any]) -> None:
    """Another bridge has stored it since this one took up the chat; its id is younger than all that this one remembers."""
    one = await make_world()
    two = await make_world(one.stores)
    for world in (one, two):
        assert (await world.send("c1", "user1")).reason_code == 0
    id_ = new_message_id()
    assert (await two.send("c1", "user1", id_=id_)).reason_code == 0
    one.bridge.ingest._commit._order.known("c1").since = ""
    real, looked = one.messages.by_ids, []

    async def by_ids(ids: Sequence[str]) -> Any:
        looked.append(list(ids))
        return await real(ids)

    one.messages.by_ids = by_ids
    answers = await asyncio.gather(one.send("c1", "user1", id_=id_), one.send("c1", "user1"))
    assert [answer.reason_code for answer in answers] == [0, 0]
    assert all(id_ not in ids for ids in looked)  # the fence found it, not a query before the write
    assert one.count("repeats") == 1
    history = await one.history("c1")
    assert [event.id for event in history].count(id_) == 1
    assert_dense(history)
    assert next(event.seq for event in one.fanned("c1") if event.id == id_) == 3


async def test_messages_gather_while_a_batch_commits_unless_it_is_in_trouble(world: Any) -> None:
    failing, entered, go_on = [False], asyncio.Event(), asyncio.Event()
    real = world.messages.insert

    async def insert(events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
        if any(event.chat == "c1" for event in events):
            entered.set()
            await go_on.wait()
            if failing[0]:
                raise Unavailable("away")
        answers: list[Inserted] = await real(events, push=push)
        return answers

    world.messages.insert = insert
    slow = asyncio.create_task(world.send("c1", "user1"))
    await entered.wait()
    small = [asyncio.create_task(world.send("c2", "user2")) for _ in range(5)]
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in small)
    many = [asyncio.create_task(world.send("c2", "user3")) for _ in range(WORTH - len(small))]
    await asyncio.gather(*small, *many)  # together they were worth a write of their own
    assert not slow.done()
    late = asyncio.create_task(world.send("c2", "user2"))
    await asyncio.sleep(0.02)
    assert not late.done()
    failing[0] = True
    go_on.set()
    assert (await late).reason_code == 0
    assert not slow.done()
    failing[0] = False
    assert (await slow).reason_code == 0


async def test_a_hole_that_a_killed_bridge_left_is_filled_at_first_sight(world: Any) -> None:
    store_directly(world, event(1, 1), event(3, 3))
    assert (await world.send("c1", "user1")).reason_code == 0
    history = await world.history("c1")
    assert [(one.seq, one.type, one.n) for one in history] == [
        (1, "message", 1),
        (2, "void", 1),
        (3, "message", 2),
        (4, "message", 3),
    ]
    assert sorted(one.seq for one in world.fanned("c1")) == [2, 4]


async def test_voids_of_two_who_fill_at_once_do_not_collide() -> None:
    messages = MemoryMessages()
    await messages.insert([event(1, 1), event(4, 4)])
    one, two = Order(messages), Order(messages)
    filled = await asyncio.gather(one.load(["c1"]), two.load(["c1"]))
    assert sorted(void.seq for loaded in filled for void in loaded.voids) == [2, 3]
    assert_dense(await messages.after("c1", 0, 10))


async def test_poison_is_parked_and_its_neighbours_pass(world: Any) -> None:
    def poisonous(events: Sequence[Event]) -> None:
        if any(one.body is not None and one.body.text == "poison" for one in events):
            raise RuntimeError("the text of the message: poison")

    world.messages.before = poisonous
    texts = [str(k) for k in range(30)]
    texts[11] = "poison"
    answers = await asyncio.gather(*(world.send("c1", "user1", text) for text in texts))
    assert [answer.code for answer in answers if answer.reason_code] == ["dead_letter"]
    assert (answers[11].code, answers[11].reason_code) == ("dead_letter", 0x83)
    history = await world.history("c1")
    assert [one.body.text for one in history] == [text for text in texts if text != "poison"]
    assert_dense(history)
    letters = await world.stores.dead_letters.page()
    assert [(letter.topic, letter.tries) for letter in letters] == [("chats/c1/send/user1", 3)]
    assert b"poison" in letters[0].payload
    assert letters[0].reason == "builtins.RuntimeError"
    assert [reject["code"] for reject in world.inbox("user1")] == ["dead_letter"]
    assert (await world.send("c1", "user1")).reason_code == 0


async def test_poison_that_breaks_the_decoding_is_parked_too(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bridge import ingest  # noqa: PLC0415 - patched here only

    real = ingest.read

    def read(arrival: Any, *, max_bytes: int) -> Any:
        if b"poison" in arrival.delivery.payload:
            raise KeyError("poison")
        return real(arrival, max_bytes=max_bytes)

    monkeypatch.setattr(ingest, "read", read)
    bad, good = await asyncio.gather(world.send("c1", "user1", raw=b"poison", ingest="b:1"), world.send("c1", "user2"))
    assert (bad.code, good.reason_code) == ("dead_letter", 0)
    assert len(await world.stores.dead_letters.page()) == 1


async def test_what_the_store_can_not_hold_is_refused_not_parked(world: Any) -> None:
    def picky(events: Sequence[Event]) -> None:
        if any(one.body is not None and one.body.text == "too big a number" for one in events):
            raise BadInput("can't be stored", code="unstorable")

    world.messages.before = picky
    good, bad = await asyncio.gather(world.send("c1", "user1"), world.send("c1", "user1", "too big a number"))
    assert (good.reason_code, bad.code) == (0, "unstorable")
    assert await world.stores.dead_letters.page() == []
    assert_dense(await world.history("c1"))


async def test_dead_letters_that_can_not_be_stored_hold_the_answer_back(world: Any) -> None:
    failures = [Unavailable("away"), Unavailable("away")]
    store = world.stores.dead_letters
    real = store.add

    async def add(letter: Any) -> None:
        if failures:
            raise failures.pop()
        await real(letter)

    store.add = add
    world.messages.before = lambda _events: (_ for _ in ()).throw(ValueError("poison"))
    assert (await world.send("c1", "user1")).code == "dead_letter"
    assert len(await store.page()) == 1


async def test_what_is_stored_is_fanned_out_when_the_link_is_back(world: Any) -> None:
    """The link fails between the write and the fan-out: nobody sends again, and still everybody gets it, in order."""

    def cut(_events: Sequence[Event]) -> None:
        world.bridge_link.up = False
        world.messages.after_insert = lambda _events: None

    world.messages.after_insert = cut
    lost = await asyncio.gather(*(world.send("c1", "user1") for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in lost)
    assert world.fanned("c1") == []
    world.bridge_link.up = True
    await until(lambda: len(world.fanned("c1")) == 5)
    assert [one.seq for one in world.fanned("c1")] == [1, 2, 3, 4, 5]
    assert (await world.send("c1", "user1")).reason_code == 0
    assert [one.seq for one in world.fanned("c1")] == [1, 2, 3, 4, 5, 6]


async def test_what_the_broker_does_not_take_is_sent_again_in_order(world: Any) -> None:
    refusals = 4

    def refuse(topic: str) -> Published | None:
        nonlocal refusals
        if topic != "chats/c1/messages" or not refusals:
            return None
        refusals -= 1
        return Published(0x97)

    world.broker.refuse = refuse
    answers = await asyncio.gather(*(world.send("c1", "user1") for _ in range(3)))
    assert {answer.reason_code for answer in answers} == {0}
    assert [one.seq for one in world.fanned("c1")] == [1, 2, 3]


async def test_what_the_broker_will_never_take_holds_nobody_up(world: Any) -> None:
    world.broker.refuse = lambda topic: Published(0x95) if topic == "chats/c1/messages" else None
    assert (await world.send("c1", "user1")).reason_code == 0
    assert (await world.send("c2", "user3")).reason_code == 0
    assert world.count("fan_out_refused") == 1


async def test_a_senders_watermark_that_can_not_be_stored_is_stored_later_and_holds_nobody_up(world: Any) -> None:
    failures = [Unavailable("away"), Unavailable("still away")]
    chats = world.stores.chats
    real = chats.raise_watermarks

    async def raise_watermarks(moves: Any) -> None:
        if failures:
            raise failures.pop()
        await real(moves)

    chats.raise_watermarks = raise_watermarks
    assert (await world.send("c1", "user1")).reason_code == 0
    assert (await chats.member("c1", "user1")).seen_seq == 0
    while (await chats.member("c1", "user1")).seen_seq != 1:
        await asyncio.sleep(0.002)
    assert not failures


async def test_what_a_killed_bridge_left_of_watermarks_is_made_good_by_who_takes_up_the_chat(
    make_world: Callable[..., Any],
) -> None:
    first = await make_world(bridge_receipts_every=10)
    for user in ("user1", "user2", "user1"):
        assert (await first.send("c1", user)).reason_code == 0
    first.task.cancel()  # kill -9: nothing is flushed
    await asyncio.gather(first.task, return_exceptions=True)
    chats = first.stores.chats
    assert [(await chats.member("c1", user)).seen_seq for user in ("user1", "user2")] == [0, 0]
    heir = await make_world(first.stores)
    assert (await heir.send("c1", "dev-thermo", raw=b"21.5", ingest="i1")).reason_code == 0
    while [(await chats.member("c1", user)).seen_seq for user in ("user1", "user2", "dev-thermo")] != [3, 2, 4]:
        await asyncio.sleep(0.002)


async def test_draining_finishes_what_is_under_way_and_leaves_the_rest_unsettled(world: Any) -> None:
    entered = asyncio.Event()
    go_on = asyncio.Event()
    real = world.messages.insert

    async def slow(events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
        entered.set()
        await go_on.wait()
        answers: list[Inserted] = await real(events, push=push)
        return answers

    world.messages.insert = slow
    first = asyncio.create_task(world.send("c1", "user1"))
    await entered.wait()
    waiting = asyncio.create_task(world.send("c1", "user1"))
    await asyncio.sleep(0)
    world.stop.set()
    await asyncio.sleep(0)
    late = asyncio.create_task(world.send("c1", "user2"))
    await asyncio.sleep(0)
    go_on.set()
    assert (await first).reason_code == 0
    for task in (waiting, late):
        with pytest.raises(Unavailable):
            await task
    assert len(await world.history("c1")) == 1
