"""Retained messages, by topic and by filter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mqtt.filters import is_topic_filter, matches
from mqtt.messages import Message
from mqtt.retained import RetainedMessages

LEVEL = st.sampled_from(["a", "b", "", "$x", "안"])
TOPIC = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTER = (
    st.lists(st.one_of(LEVEL, st.sampled_from(["+", "#"])), min_size=1, max_size=4)
    .map("/".join)
    .filter(is_topic_filter)
)


def found(store: RetainedMessages, text: str, now: float = 0.0) -> dict[str, bytes]:
    return {message.topic: message.payload for message in store.find(text, now)}


@given(
    puts=st.lists(st.tuples(TOPIC, st.sampled_from([b"", b"1", b"2"])), max_size=25),
    filters=st.lists(FILTER, min_size=1, max_size=5),
)
def test_it_holds_the_newest_of_each_topic_and_finds_what_the_plain_rule_finds(
    puts: list[tuple[str, bytes]], filters: list[str]
) -> None:
    store, wanted = RetainedMessages(), dict[str, bytes]()
    for topic, payload in puts:
        assert store.put(Message(topic, payload, retain=True))
        wanted[topic] = payload
        if not payload:
            del wanted[topic]
    assert store.count == len(wanted)
    for text in filters:
        assert found(store, text) == {topic: payload for topic, payload in wanted.items() if matches(text, topic)}
    for topic in wanted:
        assert store.put(Message(topic, b"", retain=True))
    assert store.count == 0
    assert not store._root.children


def test_a_full_store_refuses_new_topics_and_takes_new_values() -> None:
    store = RetainedMessages(limit=2)
    assert store.put(Message("a", b"1"))
    assert store.put(Message("b", b"1"))
    assert not store.put(Message("c", b"1"))
    assert store.put(Message("b", b"2"))
    assert store.put(Message("a", b""))
    assert store.put(Message("c", b"1"))
    assert found(store, "#") == {"b": b"2", "c": b"1"}


def test_what_has_expired_is_not_found() -> None:
    store = RetainedMessages()
    store.put(Message("a", b"1", expires_at=10.0))
    assert found(store, "a", 9.9) == found(store, "#", 9.9) == {"a": b"1"}
    assert found(store, "a", 10.0) == found(store, "#", 10.0) == {}
