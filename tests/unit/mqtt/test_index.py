"""The topic index against the plain rule, and who of a share group is chosen."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mqtt.filters import is_topic_filter, matches
from mqtt.index import Group, TopicIndex

LEVEL = st.sampled_from(["a", "b", "", "$x", "안"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = (
    st.lists(st.one_of(LEVEL, st.sampled_from(["+", "#"])), min_size=1, max_size=4)
    .map("/".join)
    .filter(is_topic_filter)
)
SHARED = st.builds("$share/{}/{}".format, st.sampled_from(["g", "h"]), FILTER)
KEYS = st.sampled_from(["one", "two", "three"])
TOPICS = ["a", "a/b", "/", "a//b", "$x", "$x/a", "b/a/안", "a/b/a/b", "안/b"]


class IndexAgreesWithTheRule(RuleBasedStateMachine):
    """Subscribe and unsubscribe at random; the index answers what a scan over all filters answers."""

    def __init__(self) -> None:
        super().__init__()
        self.index: TopicIndex[str, int] = TopicIndex()
        self.held: dict[tuple[str, str], int] = {}

    @rule(text=st.one_of(FILTER, SHARED), key=KEYS, value=st.integers())
    def add(self, text: str, key: str, value: int) -> None:
        assert self.index.add(text, key, value) is ((text, key) not in self.held)
        self.held[text, key] = value

    @rule(text=st.one_of(FILTER, SHARED), key=KEYS)
    def remove(self, text: str, key: str) -> None:
        assert self.index.remove(text, key) is (self.held.pop((text, key), None) is not None)

    @rule(data=st.data())
    def remove_one_that_is_held(self, data: st.DataObject) -> None:
        if self.held:
            text, key = data.draw(st.sampled_from(sorted(self.held)))
            self.remove(text, key)

    @rule(topic=TOPIC)
    def ask(self, topic: str) -> None:
        self.check(topic)

    @invariant()
    def agrees(self) -> None:
        assert self.index.size == len(self.held)
        for topic in TOPICS:
            self.check(topic)

    def check(self, topic: str) -> None:
        plain: Counter[tuple[str, int]] = Counter()
        groups: Counter[tuple[str, tuple[tuple[str, int], ...]]] = Counter()
        members: dict[tuple[str, str], dict[str, int]] = {}
        for (text, key), value in self.held.items():
            _, _, rest = text.partition("/")
            group, _, shared = rest.partition("/")
            if text.startswith("$share/"):
                if matches(shared, topic):
                    members.setdefault((group, shared), {})[key] = value
            elif matches(text, topic):
                plain[key, value] += 1
        for (group, _), of_group in members.items():
            groups[group, tuple(sorted(of_group.items()))] += 1
        found = self.index.match(topic)
        assert Counter(found.entries) == plain
        assert (
            Counter((group.text.split("/")[1], tuple(sorted(group.members.items()))) for group in found.groups)
            == groups
        )
        if any(count > 1 for count in Counter(key for key, _ in found.entries).values()):
            assert found.overlaps


TestIndex = IndexAgreesWithTheRule.TestCase
TestIndex.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_an_index_from_which_everything_was_removed_holds_nothing() -> None:
    index: TopicIndex[str, int] = TopicIndex()
    texts = ["a", "a/+/#", "#", "+", "$share/g/a/+", "a/b/c/d/+"]
    for text in texts:
        index.add(text, "k", 1)
    for text in texts:
        assert index.remove(text, "k")
    assert index.size == 0
    assert not index._exact
    assert not index._root


# ---- share groups


def group_of(*members: str) -> Group[str, int]:
    group: Group[str, int] = Group("$share/g/a")
    group.members = dict.fromkeys(members, 1)
    return group


def everyone(_member: str) -> bool:
    return True


CHATS = [f"chats/c{number}" for number in range(300)]


def test_a_chat_sticks_to_one_member_whatever_stands_behind_its_first_two_levels() -> None:
    group = group_of("one", "two", "three")
    for chat in CHATS:
        chosen = {group.choose(f"{chat}/{rest}", everyone) for rest in ("send/u1", "send/u2", "ack/u1", "a/b/c/d")}
        assert len(chosen) == 1
        assert group.choose(chat, everyone) in chosen


def test_every_member_gets_some() -> None:
    group = group_of("one", "two", "three")
    assert {group.choose(chat, everyone) for chat in CHATS} == {"one", "two", "three"}


def test_when_a_member_leaves_only_its_chats_move() -> None:
    group = group_of("one", "two", "three")
    before = {chat: group.choose(chat, everyone) for chat in CHATS}
    del group.members["two"]
    group.reset()
    after = {chat: group.choose(chat, everyone) for chat in CHATS}
    assert {chat for chat in CHATS if before[chat] != after[chat]} == {chat for chat in CHATS if before[chat] == "two"}


def test_when_a_member_comes_back_its_chats_come_back_and_no_other() -> None:
    group = group_of("one", "two", "three")
    before = {chat: group.choose(chat, everyone) for chat in CHATS}
    group.reset()
    assert all(group.choose(chat, lambda member: member != "two") != "two" for chat in CHATS)
    group.reset()
    assert {chat: group.choose(chat, everyone) for chat in CHATS} == before


def test_nobody_is_chosen_of_an_empty_group() -> None:
    assert group_of("one").choose("a/b", lambda _member: False) is None
    assert group_of().choose("a/b", everyone) is None


@given(topic=TOPIC)
def test_an_invalid_shared_filter_changes_nothing(topic: str) -> None:
    index: TopicIndex[str, int] = TopicIndex()
    for text in ("$share/g", "$share//a", "$share/+/a"):
        try:
            index.add(text, "k", 1)
        except ValueError:
            continue
        raise AssertionError(text)
    assert not any(index.match(topic))
