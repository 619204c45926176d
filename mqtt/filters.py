"""Topic names and filters (MQTT 5.0 §4.7, §4.8): what is valid, and what matches what."""

from __future__ import annotations

from typing import NamedTuple


class SharedFilter(NamedTuple):
    """`$share/{group}/{topic_filter}` taken apart."""

    group: str
    topic_filter: str


def is_topic_name(topic: str) -> bool:
    """Whether one may publish to it: not empty, no wildcard, no NUL (5.0 §4.7.3)."""
    return bool(topic) and not ("+" in topic or "#" in topic or "\0" in topic)


def is_topic_filter(text: str) -> bool:
    """Whether one may subscribe to it: `+` fills a level, `#` fills the last [MQTT-4.7.1-1, -2]."""
    if not text or "\0" in text:
        return False
    if "+" not in text and "#" not in text:
        return True
    *before, last = text.split("/")
    if any("#" in level or ("+" in level and level != "+") for level in before):
        return False
    return last in ("#", "+") or not ("#" in last or "+" in last)


def split_shared(text: str) -> SharedFilter | None:
    """A shared subscription taken apart; None when `text` is none.

    Raises:
        ValueError: it starts as one but isn't whole: no group, a wildcard in it, or no filter [MQTT-4.8.2-1, -2].
    """
    if not text.startswith("$share/"):
        return None
    parts = text.split("/", 2)
    if len(parts) < 3:
        raise ValueError("a shared subscription is $share/{group}/{filter}")
    _, group, topic_filter = parts
    if not group or not topic_filter or "+" in group or "#" in group:
        raise ValueError("a shared subscription is $share/{group}/{filter}, and the group holds no wildcard")
    return SharedFilter(group, topic_filter)


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a filter matches a topic name; the plain rule, which the index must agree with.

    A wildcard in the first level never matches a topic that starts with `$` [MQTT-4.7.2-1].
    """
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)
