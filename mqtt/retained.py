"""Retained messages: the last one of each topic, found by filter."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from mqtt.filters import matches
from mqtt.messages import Message


class RetainedMessages:
    """The newest retained message per topic, bounded in number.

    Args:
        limit: how many topics may hold one; a further topic is refused.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._root: _Node = _Node()
        self._ends: list[tuple[float, str]] = []
        self.count = 0

    def put(self, message: Message) -> bool:
        """Keep a message, or with an empty payload forget the topic's [MQTT-3.3.1-6]. False when the store is full."""
        if not message.payload:
            self._remove(message.topic)
            return True
        node = self._root
        missing = self.count >= self._limit and self.get(message.topic) is None
        if missing:
            return False
        for level in message.topic.split("/"):
            node = node.children.setdefault(level, _Node())
        self.count += node.message is None
        node.message = message
        if message.expires_at is not None:
            self._remember_end(message.expires_at, message.topic)
        return True

    def _remember_end(self, expires_at: float, topic: str) -> None:
        heapq.heappush(self._ends, (expires_at, topic))
        if len(self._ends) > 2 * self.count + 100:  # mostly of messages that were replaced
            living = self._below(self._root)
            self._ends = [(each.expires_at, each.topic) for each in living if each.expires_at is not None]
            heapq.heapify(self._ends)

    def evict(self, now: float) -> list[str]:
        """Forget what has expired, so that it takes no place; the topics."""
        evicted = []
        while self._ends and self._ends[0][0] <= now:
            _, topic = heapq.heappop(self._ends)
            message = self.get(topic)
            if message is not None and message.expired(now):
                self._remove(topic)
                evicted.append(topic)
        return evicted

    def get(self, topic: str) -> Message | None:
        """The retained message of one topic."""
        node: _Node | None = self._root
        for level in topic.split("/"):
            node = node.children.get(level) if node else None
        return node.message if node else None

    def find(self, topic_filter: str, now: float) -> list[Message]:
        """Retained messages that a filter matches and that have not expired."""
        if "+" not in topic_filter and "#" not in topic_filter:
            message = self.get(topic_filter)
            return [message] if message is not None and not message.expired(now) else []
        levels = topic_filter.split("/")
        found = [message for message in self._walk(self._root, levels) if not message.expired(now)]
        # The trie does not know the rule about `$` topics; the plain matcher does.
        return [message for message in found if matches(topic_filter, message.topic)]

    def _walk(self, node: _Node, levels: list[str]) -> Iterator[Message]:
        if not levels:
            if node.message is not None:
                yield node.message
            return
        level, rest = levels[0], levels[1:]
        if level == "#":
            yield from self._below(node)
        elif level == "+":
            for child in node.children.values():
                yield from self._walk(child, rest)
        elif (found := node.children.get(level)) is not None:
            yield from self._walk(found, rest)

    def _below(self, node: _Node) -> Iterator[Message]:
        stack = [node]
        while stack:
            current = stack.pop()
            if current.message is not None:
                yield current.message
            stack += current.children.values()

    def _remove(self, topic: str) -> None:
        path = [self._root]
        levels = topic.split("/")
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return
            path.append(child)
        if path[-1].message is None:
            return
        path[-1].message = None
        self.count -= 1
        for parent, level in zip(reversed(path[:-1]), reversed(levels), strict=True):
            child = parent.children[level]
            if child.children or child.message is not None:
                break
            del parent.children[level]


class _Node:
    __slots__ = ("children", "message")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.message: Message | None = None
