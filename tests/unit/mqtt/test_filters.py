"""What is a topic, what is a filter, and what matches what."""

from __future__ import annotations

import pytest

from mqtt.filters import SharedFilter, is_topic_filter, is_topic_name, matches, split_shared


@pytest.mark.parametrize("topic", ["a", "/", "a/b", "a//b", "$SYS/x", "안녕/하세요", " ", "a" * 65_535])
def test_topic_names(topic: str) -> None:
    assert is_topic_name(topic)
    assert is_topic_filter(topic)


@pytest.mark.parametrize("topic", ["", "+", "a/#", "a/+/b", "a+b", "a#", "a\0b"])
def test_what_is_no_topic_name(topic: str) -> None:
    assert not is_topic_name(topic)


@pytest.mark.parametrize("text", ["#", "+", "a/#", "+/+", "/#", "+/#", "a/+/b", "/+"])
def test_filters_with_wildcards(text: str) -> None:
    assert is_topic_filter(text)


@pytest.mark.parametrize("text", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+/c", "a\0", "##", "++"])
def test_what_is_no_filter(text: str) -> None:
    assert not is_topic_filter(text)


@pytest.mark.parametrize(
    ("text", "topic", "wanted"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a/b", "a", False),
        ("a", "a/b", False),
        ("a/+", "a/b", True),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("+", "a", True),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("/+", "/a", True),
        ("#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("+/b/#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/+", "$SYS/x", True),
        ("안/+", "안/녕", True),
        ("Ä", "A\u0308", False),  # composed and decomposed are two topics: nothing is normalised
    ],
)
def test_matches(text: str, topic: str, wanted: bool) -> None:
    assert matches(text, topic) is wanted


def test_a_shared_subscription_is_taken_apart() -> None:
    assert split_shared("$share/g/a/+/#") == SharedFilter("g", "a/+/#")
    assert split_shared("$share/g//a") == SharedFilter("g", "/a")
    assert split_shared("a/$share/g/a") is None
    assert split_shared("$shared/g/a") is None


@pytest.mark.parametrize("text", ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/g#/a"])
def test_a_broken_shared_subscription_raises(text: str) -> None:
    with pytest.raises(ValueError, match="shared subscription"):
        split_shared(text)
