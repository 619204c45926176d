"""One chat in order: whatever is lost, repeated or reordered, the app gets 1..n once each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.envelopes import Event, Reset, SyncPage
from chat.models import Head
from chat.sync import page, reset_reason
from clients.python.timeline import Ask, Restart, Timeline

CHAT = "g-1"
AT = datetime(2026, 5, 4, tzinfo=UTC)


def event(seq: int) -> Event:
    return Event(type="message", id=f"00000000-0000-7000-8000-{seq:012d}", chat=CHAT, seq=seq, n=seq, sender="a", at=AT)


def events(*seqs: int) -> list[Event]:
    return [event(seq) for seq in seqs]


def seqs(taken: list[Event]) -> list[int]:
    return [event.seq for event in taken]


def answer(ask: Ask, head: int, *, first: int = 1, req: str) -> SyncPage | Reset:
    """What the server says: the project's own `chat.sync`, over a history of `first`..`head`."""
    reason = reset_reason(ask.cursor, Head(head, head), member=True)
    if reason is not None:
        return Reset(chat=CHAT, reason=reason, req=req)
    stored = [event(seq) for seq in range(max(first, ask.cursor + 1), head + 1)][: ask.limit]
    return page(CHAT, ask.cursor, stored, Head(head, head), limit=ask.limit, req=req)


def as_page(answered: SyncPage | Reset) -> SyncPage:
    assert isinstance(answered, SyncPage)
    return answered


def as_reset(answered: SyncPage | Reset) -> Reset:
    assert isinstance(answered, Reset)
    return answered


def asked(timeline: Timeline, now: float, req: str) -> Ask:
    ask = timeline.ask(now, req)
    assert ask is not None
    return ask


def known(cursor: int = 0, *, hold: int = 100, page: int = 10) -> Timeline:
    """A timeline that has nothing left to ask."""
    timeline = Timeline(CHAT, cursor, hold=hold, page=page, delay=lambda _: 1.0)
    asked(timeline, 0.0, "first")
    timeline.page(SyncPage(chat=CHAT, events=[], next=cursor, limited=False, last=cursor, req="first"), 0.0)
    assert not timeline.wants
    return timeline


def test_in_order_goes_straight_through() -> None:
    timeline = known()
    for one in events(1, 2, 3):
        timeline.put(one)
    assert seqs(timeline.take(10)) == [1, 2, 3]
    assert timeline.cursor == 3
    assert not timeline.wants


def test_a_repeat_is_dropped_before_and_after_it_was_taken() -> None:
    timeline = known()
    timeline.put(event(1))
    timeline.put(event(1))
    assert seqs(timeline.take(10)) == [1]
    timeline.put(event(1))
    assert timeline.take(10) == []
    assert timeline.repeats == 2


def test_what_is_behind_a_gap_waits_for_it() -> None:
    timeline = known(5)
    timeline.put(event(7))
    assert timeline.take(10) == []
    assert asked(timeline, 10.0, "1") == Ask(CHAT, 5, 10)
    timeline.page(as_page(answer(Ask(CHAT, 5, 10), 7, req="1")), 10.0)
    assert seqs(timeline.take(10)) == [6, 7]
    assert not timeline.wants


def test_an_unanswered_question_is_asked_again_but_not_at_once() -> None:
    timeline = known()
    timeline.put(event(3))
    assert timeline.ask(10.0, "1") is not None
    assert timeline.ask(10.5, "2") is None
    assert timeline.ask(11.0, "3") == Ask(CHAT, 0, 10)


def test_a_limited_page_is_followed_by_the_next_question_at_once() -> None:
    timeline = Timeline(CHAT, 0, page=2)
    for until, req in ((2, "1"), (4, "2"), (5, "3")):
        timeline.page(as_page(answer(asked(timeline, 0.0, req), 5, req=req)), 0.0)
        assert timeline.ready == until
    assert not timeline.wants
    assert seqs(timeline.take(9)) == [1, 2, 3, 4, 5]


def test_an_answer_that_brings_nothing_does_not_make_a_storm() -> None:
    timeline = known()
    timeline.put(event(2))
    asked(timeline, 10.0, "1")
    late = 20.0  # later than when it would have been asked again
    timeline.page(SyncPage(chat=CHAT, events=[], next=0, limited=False, last=0, req="1"), late)
    assert timeline.wants
    assert timeline.ask(late, "2") is None
    assert timeline.ask(late + 1.0, "2") is not None


def test_after_a_reconnect_the_answer_to_an_older_question_proves_nothing() -> None:
    timeline = known()
    timeline.put(event(2))
    asked(timeline, 10.0, "1")
    timeline.unsure()
    timeline.page(as_page(answer(Ask(CHAT, 0, 10), 2, req="1")), 10.0)
    assert seqs(timeline.take(9)) == [1, 2]
    assert timeline.ask(10.0, "2") == Ask(CHAT, 2, 10)


def test_the_bound_drops_what_is_behind_the_gap_and_asks_for_it() -> None:
    timeline = known(hold=4, page=4)
    for one in events(2, 3, 4, 5, 6):
        timeline.put(one)
        assert timeline.held <= 4
    assert timeline.dropped == 4
    for req in ("1", "2"):
        timeline.page(as_page(answer(asked(timeline, 10.0, req), 6, req=req)), 10.0)
        taken = seqs(timeline.take(9))
    assert taken == [5, 6]
    assert timeline.cursor == 6


def test_what_is_ready_is_never_dropped_and_nothing_is_asked_while_there_is_no_room() -> None:
    timeline = known(hold=3, page=3)
    for one in events(1, 2, 3, 4):
        timeline.put(one)
    assert timeline.held == 3
    assert not timeline.wants
    assert seqs(timeline.take(9)) == [1, 2, 3]
    assert asked(timeline, 10.0, "1") == Ask(CHAT, 3, 3)


def test_without_a_cursor_it_starts_behind_the_newest_event() -> None:
    timeline = Timeline(CHAT, None)
    ask = asked(timeline, 0.0, "1")
    assert ask == Ask(CHAT, 0, 1)
    timeline.put(event(41))  # the newest one, live, while the question is under way
    timeline.put(event(42))
    assert timeline.page(as_page(answer(ask, 41, req="1")), 0.0) is None
    assert seqs(timeline.take(9)) == [42]
    assert not timeline.wants


def test_an_unusable_cursor_restarts_behind_the_head_and_says_so() -> None:
    timeline = Timeline(CHAT, 90)
    ask = asked(timeline, 0.0, "1")
    assert timeline.reset(as_reset(answer(ask, 7, req="1"))) is None
    restart = timeline.page(as_page(answer(asked(timeline, 0.0, "2"), 7, req="2")), 0.0)
    assert restart == Restart(CHAT, "ahead", 7)
    timeline.put(event(8))
    assert seqs(timeline.take(9)) == [8]


def test_when_the_beginning_is_gone_too_the_next_live_event_is_the_start() -> None:
    timeline = Timeline(CHAT, 3)
    assert timeline.reset(as_reset(answer(asked(timeline, 0.0, "1"), 90, first=50, req="1"))) is None
    restart = timeline.reset(as_reset(answer(asked(timeline, 0.0, "2"), 90, first=50, req="2")))
    assert restart == Restart(CHAT, "too_old", None)
    assert not timeline.wants
    timeline.put(event(91))
    timeline.put(event(93))
    assert seqs(timeline.take(9)) == [91]
    assert asked(timeline, 0.0, "3").cursor == 91


def test_a_reconnect_before_that_is_told_again() -> None:
    timeline = Timeline(CHAT, 3)
    for req in ("1", "2"):
        timeline.reset(as_reset(answer(asked(timeline, 0.0, req), 90, first=50, req=req)))
    timeline.unsure()
    restart = timeline.reset(as_reset(answer(asked(timeline, 0.0, "3"), 90, first=50, req="3")))
    assert restart == Restart(CHAT, "too_old", None)


def test_a_reset_of_an_older_question_is_ignored() -> None:
    timeline = known(5)
    timeline.put(event(7))
    asked(timeline, 10.0, "new")
    timeline.reset(Reset(chat=CHAT, reason="ahead", req="old"))
    assert asked(timeline, 20.0, "newer").cursor == 5


@pytest.mark.parametrize("bad", [0, 5])
def test_events_at_or_before_the_cursor_are_repeats(bad: int) -> None:
    timeline = known(5)
    timeline.put(event(bad))
    assert timeline.take(9) == []
    assert timeline.held == 0


@dataclass
class World:
    """A server with `head` events, and a network that loses, repeats and reorders."""

    timeline: Timeline
    hold: int
    head: int = 0
    now: float = 0.0
    delivered: list[int] = field(default_factory=list)
    answers: list[SyncPage] = field(default_factory=list)
    asks: int = 0

    def ask(self) -> None:
        req = str(self.asks)
        ask = self.timeline.ask(self.now, req)
        if ask is not None:
            self.asks += 1
            self.answers.append(as_page(answer(ask, self.head, req=req)))

    def take(self, limit: int) -> None:
        self.delivered += seqs(self.timeline.take(limit))

    def check(self) -> None:
        assert self.timeline.held <= self.hold
        assert self.delivered == list(range(1, len(self.delivered) + 1))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.integers(1, 8)),
        st.tuples(st.just("live"), st.integers(0, 40)),  # any stored event, again, late or in disorder
        st.tuples(st.just("newest"), st.just(0)),
        st.tuples(st.just("ask"), st.just(0)),
        st.tuples(st.just("answer"), st.integers(0, 9)),  # any answer so far, once more and late too
        st.tuples(st.just("away"), st.just(0)),
        st.tuples(st.just("take"), st.integers(1, 5)),
        st.tuples(st.just("wait"), st.integers(1, 9)),
    ),
    max_size=120,
)


@settings(max_examples=400, deadline=None)
@given(steps=STEPS, hold=st.integers(1, 12), page=st.integers(1, 12))
def test_any_arrival_is_delivered_in_order_once_each_and_in_bounds(
    steps: list[tuple[str, int]], hold: int, page: int
) -> None:
    world = World(Timeline(CHAT, 0, hold=hold, page=page, delay=lambda _: 1.0), hold)
    for what, number in steps:
        match what:
            case "store":
                world.head += number
            case "live" if world.head:
                world.timeline.put(event(1 + number % world.head))
            case "newest" if world.head:
                world.timeline.put(event(world.head))
            case "ask":
                world.ask()
            case "answer" if world.answers:
                world.timeline.page(world.answers[number % len(world.answers)], world.now)
            case "away":
                world.timeline.unsure()
            case "take":
                world.take(number)
            case "wait":
                world.now += number
        world.check()
    _settle(world)
    assert world.delivered == list(range(1, world.head + 1))
    assert not world.timeline.wants


def _settle(world: World) -> None:
    """From here on the network is good: a reconnect, and each question gets its answer."""
    world.timeline.unsure()
    for _ in range(2 * world.head + 5):
        world.now += 1.0
        asked_before = world.asks
        world.ask()
        if world.asks > asked_before:
            world.timeline.page(world.answers[-1], world.now)
        world.take(3)
        world.check()
    world.take(world.hold)
    world.check()
