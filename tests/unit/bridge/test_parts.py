"""The small parts on their own: lines, heads, rosters, presence, filters, repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from adapters.memory import memory_stores
from adapters.memory.blocks import MemoryBlocks
from adapters.memory.presence import MemoryPresence
from bridge.claims import Claims
from bridge.dead_letters import DeadLetters
from bridge.decode import Draft
from bridge.filters.size import Size
from bridge.gather import Arrival, Gatherer
from bridge.members import Members
from bridge.metrics import Metrics
from bridge.order import ChatHead
from bridge.presence import LIFETIME, Online
from bridge.repeats import AHEAD, Recent, Stored
from chat.envelopes import Ack, Attachment, Body, Connection, DeliveredMark, Invalidation, Send
from chat.errors import Refused, Unavailable
from chat.ids import made_between, new_message_id
from chat.jobs import PUSH_EVENT
from chat.models import Chat, ChatKind, Member, Role
from chat.ports import Delivery

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def arrival(chat: str, number: int = 0, sender: str = "user1") -> Arrival:
    delivery = Delivery("", str(number).encode(), 1, lambda _code, _reason, _name: None)
    return Arrival(delivery, chat, sender, 0.0)


def draft(body: Body | None, sender: str = "user1") -> Draft:
    return Draft(arrival("c1", sender=sender), Send(id=new_message_id(), body=body))


# -- lines ---------------------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abcd")),
            st.tuples(st.just("take"), st.just("")),
            st.tuples(st.just("release"), st.just("")),
        )
    )
)
def test_batches_of_one_chat_never_overlap_and_keep_its_order(steps: list[tuple[str, str]]) -> None:
    gather = Gatherer(batch=5, per_chat=2, bound=1000)
    under_way: list[set[str]] = []
    taken: list[tuple[str, int]] = []
    for number, (step, chat) in enumerate(steps):
        if step == "add":
            assert gather.add(arrival(chat, number))
        elif step == "take":
            batch = gather.take()
            chats = {one.chat for one in batch}
            assert len(batch) <= 5
            assert not any(chats & other for other in under_way)
            taken += [(one.chat, int(one.delivery.payload)) for one in batch]
            if chats:
                under_way.append(chats)
        elif under_way:
            gather.release(under_way.pop())
    for chat in "abcd":
        numbers = [number for chat_, number in taken if chat_ == chat]
        assert numbers == sorted(numbers)
    waits_behind_a_batch = {chat for chats in under_way for chat in chats}
    waiting = [chat for step, chat in steps if step == "add"]
    for chat, _ in taken:
        waiting.remove(chat)
    assert gather.takeable == sum(chat not in waits_behind_a_batch for chat in waiting)
    assert len(taken) + len(gather) == sum(step == "add" for step, _ in steps)


def test_the_lines_are_bounded() -> None:
    gather = Gatherer(batch=5, per_chat=2, bound=2)
    assert [gather.add(arrival(chat)) for chat in "abc"] == [True, True, False]


# -- heads ---------------------------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), max_size=200))
def test_n_of_recent_slots(kinds: list[bool]) -> None:
    head, truth = ChatHead(0, 0), {0: 0}
    for message in kinds:
        seq, n = head.seq + 1, head.n + message
        head.advance(seq, n)
        truth[seq] = n
    for seq, n in truth.items():
        assert head.n_at(seq) in (n, None)
    newest = range(max(1, head.seq - 20), head.seq + 1)
    assert [head.n_at(seq) for seq in newest] == [truth[seq] for seq in newest]
    assert head.n_at(head.seq + 1) is None


def test_a_jump_forgets_what_was_before_it() -> None:
    head = ChatHead(0, 0)
    head.advance(1, 1)
    head.advance(5, 3)
    assert (head.n_at(5), head.n_at(4), head.n_at(1)) == (3, None, None)


def test_times_never_fall_and_edits_never_share_one() -> None:
    head = ChatHead(0, 0)
    later = NOW + timedelta(milliseconds=5)
    assert head.stamp(later, edits=False) == later
    assert head.stamp(NOW, edits=False) == later
    first = head.stamp(NOW, edits=True)
    second = head.stamp(NOW, edits=True)
    assert later <= first < second


# -- rosters -------------------------------------------------------------------------------------------------------------


async def some_chats() -> Any:
    chats = memory_stores().chats
    for chat in ("c1", "c2", "c3"):
        await chats.create(
            Chat(chat, ChatKind.GROUP, NOW, "user1"),
            [Member(chat, user, Role.MEMBER, NOW) for user in ("user1", "user2", "dev-x")],
        )
    return chats


def counting(chats: Any) -> list[str]:
    loads: list[str] = []
    real = chats.members_by_chat

    async def members_by_chat(some: Sequence[str]) -> Any:
        loads.extend(some)
        return await real(some)

    chats.members_by_chat = members_by_chat
    return loads


async def test_rosters_are_cached_invalidated_and_bounded() -> None:
    chats = await some_chats()
    loads = counting(chats)
    now = 0.0
    members = Members(chats, MemoryBlocks(), max_chats=2, clock=lambda: now)
    assert set(await members.rosters(["c1", "c2", "nowhere"])) == {"c1", "c2"}
    await members.rosters(["c1", "c2"])
    assert loads == ["c1", "c2"]
    members.apply(Invalidation("member", chat="c1", user="user1"))
    members.apply(Invalidation("grant", sid="s"))
    await members.rosters(["c1", "c2"])
    assert loads == ["c1", "c2", "c1"]
    await members.rosters(["c3"])  # c2 was used longest ago... and goes
    await members.rosters(["c3", "c1"])
    assert len(members._rosters) == 2
    members.apply(None)
    assert members._total == 0
    await members.rosters(["c1"])
    loads.clear()
    now = 61.0
    await members.rosters(["c1"])
    assert loads == ["c1"]


@pytest.mark.parametrize("message", [Invalidation("member", chat="c1", user="user2"), None])
async def test_a_roster_that_was_read_before_a_change_is_not_kept(message: Invalidation | None) -> None:
    chats = await some_chats()
    members = Members(chats, MemoryBlocks())
    real = chats.members_by_chat

    async def slow(some: Sequence[str]) -> Any:
        found = await real(some)
        await chats.remove_member("c1", "user2", NOW)
        members.apply(message)  # arrives while the old list is on its way
        chats.members_by_chat = real
        return found

    chats.members_by_chat = slow
    assert "user2" in (await members.rosters(["c1"]))["c1"]
    assert "user2" not in (await members.rosters(["c1"]))["c1"]


# -- presence and pushes -------------------------------------------------------------------------------------------------


async def test_presence_is_asked_once_and_then_follows_the_events() -> None:
    presence, now = MemoryPresence(), 0.0
    await presence.replace("b", {"user1": 1})
    online = Online(presence, clock=lambda: now)
    assert not online.is_online("user1")  # unknown is away
    await online.ask()
    assert online.is_online("user1")
    online.changed(Connection("user1", "user1", 0, NOW))
    assert not online.is_online("user1")
    online.changed(Connection("user1", "user1", 1, NOW))
    now = LIFETIME + 1
    assert online.is_online("user1")  # old, but still believed while it is asked again
    now = 2 * LIFETIME + 1
    assert not online.is_online("user1")
    online.forget()
    assert not online.is_online("user1")


async def test_an_event_that_overtakes_the_answer_wins() -> None:
    presence, now = MemoryPresence(), 0.0
    online = Online(presence, clock=lambda: now)

    async def slow(users: Any) -> set[str]:
        nonlocal now
        now = 1.0
        online.changed(Connection("user1", "user1", 0, NOW))
        return set(users)

    presence.online = slow  # type: ignore[method-assign]
    online.is_online("user1")
    online.is_online("user2")
    await online.ask()
    assert (online.is_online("user1"), online.is_online("user2")) == (False, True)


async def test_a_presence_that_is_away_makes_everybody_look_away() -> None:
    presence = MemoryPresence()

    async def away(_users: Any) -> set[str]:
        raise Unavailable("away")

    presence.online = away  # type: ignore[method-assign]
    online = Online(presence)
    online.is_online("user1")
    with pytest.raises(Unavailable):
        await online.ask()
    assert not online.is_online("user1")


async def test_push_marks_and_jobs(world: Any) -> None:
    await world.send("c2", "user2", "user3 is away")
    assert len(world.jobs.jobs) == 1
    assert (world.jobs.jobs[0].name, world.jobs.jobs[0].queue) == (PUSH_EVENT, "push")
    (event,) = await world.history("c2")
    assert world.jobs.jobs[0].args == (event.id,)
    assert await world.messages.push_claim(event.id) is not None
    for user in ("user2", "user3"):
        await world.publish("$events/connected", Connection(user, user, 1, NOW))
    await world.send("c2", "user2", "both are here")
    await world.bridge.pushes.flush()
    await world.publish("$events/disconnected", Connection("user2", "user2", 0, NOW))
    await world.send("c2", "user2", "only the sender is away")
    await world.bridge.pushes.flush()
    assert len(world.jobs.jobs) == 1
    await world.send("c2", "user2", type="reaction", target=event.id, body=Body(emoji="👍"))
    await world.publish("$events/disconnected", Connection("user3", "user3", 0, NOW))
    await world.send("c2", "user2", type="reaction", target=event.id, body=Body(emoji="👍"))
    await world.bridge.pushes.flush()
    assert len(world.jobs.jobs) == 1  # no push for a reaction
    await world.send("c2", "user3", "user2 is away")
    await world.bridge.pushes.flush()
    assert len(world.jobs.jobs) == 2


async def test_a_device_is_never_pushed_to(world: Any) -> None:
    for user in ("user1", "user2"):
        await world.publish("$events/connected", Connection(user, user, 1, NOW))
    await world.send("c1", "user1")
    assert not world.jobs.jobs


async def test_a_job_that_is_lost_loses_no_message(world: Any) -> None:
    async def away(*_args: Any, **_options: Any) -> None:
        raise Unavailable("away")

    world.jobs.enqueue = away
    assert (await world.send("c2", "user2")).reason_code == 0
    (event,) = await world.history("c2")
    assert await world.messages.push_claim(event.id) is not None


# -- filters -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        Body(text="가" * 101),
        Body(data="x", content_type="t" * 1025),
        Body(attachment=Attachment(url="u" * 8193, content_type="image/png")),
        Body(attachment=Attachment(url="u", content_type="image/png", name="n" * 1025)),
        Body(emoji="👍" * 1025),
    ],
)
def test_size(body: Body) -> None:
    size = Size(max_text=100)
    size.check(draft(None))
    size.check(draft(Body(text="가" * 100)))
    with pytest.raises(Refused):
        size.check(draft(body))


# -- repeats and claims --------------------------------------------------------------------------------------------------


def remembered(id_: str, size: int) -> Stored:
    return Stored(id_, "c", "u", 1, 1, "message", NOW, b"x" * size)


@pytest.mark.parametrize(
    ("limits", "known", "whole"),
    [
        ({"max_events": 2}, "cd", "cd"),
        ({"max_bytes": 25}, "abcd", "cd"),
        ({"max_whole": 1}, "abcd", "d"),
        ({"max_whole": 1, "max_events": 3}, "bcd", "d"),
    ],
)
def test_recent_is_bounded(limits: dict[str, int], known: str, whole: str) -> None:
    recent = Recent(**limits)
    for id_ in ("a", "b", "c", "b", "d"):
        recent.add([remembered(id_, 10)])
    found = {id_: recent.get(id_) for id_ in "abcd"}
    assert [id_ for id_ in found if isinstance(found[id_], Stored)] == list(whole)
    assert [id_ for id_ in found if found[id_] is not None] == list(known)
    assert {each for each in found.values() if isinstance(each, datetime)} <= {NOW}


def test_an_id_is_new_when_it_was_made_since_everything_is_remembered() -> None:
    recent = Recent(max_events=1)
    recent.since = 1_000.0

    def new(made: int, *, now: float = 5_000.0) -> bool:
        return made_between(new_message_id(made), *recent.new_between(now))

    assert [new(made) for made in (999, 1_000, 5_000, 5_000 + AHEAD, 5_001 + AHEAD)] == [False, True, True, True, False]
    for id_ in ("first", "second"):
        recent.add([remembered(id_, 1)])
    assert (
        recent.since == NOW.timestamp() * 1000 + 1
    )  # the first is forgotten, and whatever else was stored with it may be


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.integers(0, 9))))
def test_claims_are_maxima(acks: list[tuple[str, int, int]]) -> None:
    claims = Claims()
    delivery = arrival("c").delivery
    for user, delivered, seen in acks:
        claims.ack(("c", user), Ack(delivered=delivered, seen=seen), delivery)
    claims.report([DeliveredMark("c", "a", 5)], delivery)
    for user in "ab":
        mine = [ack for ack in acks if ack[0] == user] + ([("a", 5, 0)] if user == "a" else [])
        if mine:
            claim = claims.by_key["c", user]
            assert (claim.delivered, claim.seen) == (max(a[1] for a in mine), max(a[2] for a in mine))
    assert len(list(claims.deliveries())) == len(acks) + 1


async def test_what_is_no_business_of_the_bridge_is_refused(world: Any, make_world: Callable[..., Any]) -> None:
    del make_world
    settled: list[int] = []
    deliveries = [
        Delivery(topic, b"{}", 1, lambda code, _reason, _name: settled.append(code))
        for topic in ("chats/c1/messages", "nonsense", "$events/connected")
    ]
    world.bridge.receive(deliveries)
    await asyncio.sleep(0)
    assert [code >= 0x80 for code in settled] == [True, True, True]
    assert (await world.send("c1", "user1")).reason_code == 0


async def test_health(world: Any) -> None:
    assert world.bridge.health() == {"link": True, "store": True}
    world.bridge_link.up = False
    assert world.bridge.health()["link"] is False


async def test_a_dead_letter_never_replaces_somebody_elses() -> None:
    """Message ids are the senders' choice."""
    store = memory_stores().dead_letters
    letters = DeadLetters(store, Metrics(CollectorRegistry()))
    for sender in ("user1", "user2", "user1"):
        delivery = Delivery(f"chats/c1/send/{sender}", b"{}", 1, lambda *_: None)
        await letters.park(Arrival(delivery, "c1", sender, 0.0), message_id="same", error=ValueError(), tries=3)
    assert len(await store.page()) == 2
