"""The topic index: which subscriptions match a topic.

Exact filters are one dictionary look-up; filters with wildcards are a trie, walked only along levels that match. What the trie
answers is remembered per topic until a wildcard filter comes or goes, so that the cost of a publish hangs on the number of
*matching* subscribers and not on how many filters exist.

Each filter has entries: `key -> value` (a session and how it subscribed). Shared subscriptions are entries below a
group: of each group one entry gets the message.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

from mqtt.filters import split_shared

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_CACHE_TOPICS = 16_384
"""Topics whose wildcard matches are remembered: about the active topics of a large broker at once."""


class Group(Generic[K, V]):
    """The members of one shared subscription.

    A topic's first two levels decide which member gets it (rendezvous hashing: when a member comes or goes, only the
    topics that it gets or had move). So everything of one chat goes to one bridge, as long as the bridges stay.
    """

    __slots__ = ("_chosen", "members", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        """As a client writes it: `$share/{group}/{filter}`."""
        self.members: dict[K, V] = {}
        self._chosen: dict[str, K] = {}

    def reset(self) -> None:
        """Choose anew: a member came, went, connected or disconnected."""
        self._chosen.clear()

    def choose(self, topic: str, available: Callable[[K], bool]) -> K | None:
        """The member that gets a topic, of those that are `available`; None if there is none."""
        chosen = self._chosen.get(topic)
        if chosen is None:
            second = topic.find("/", topic.find("/") + 1)
            key = topic if second < 0 else topic[:second]
            candidates = [member for member in self.members if available(member)]
            if not candidates:
                return None
            chosen = max(candidates, key=lambda member: hash((key, member)))
            if len(self._chosen) >= _CACHE_TOPICS:
                self._chosen.clear()
            self._chosen[topic] = chosen
        return chosen


class _Leaf(Generic[K, V]):
    """What subscribes to one filter: most often one session, whose entry needs no dictionary then (of 224 bytes).

    Attributes:
        groups: its shared subscriptions.
        match: what a topic matches that only this filter matches, which is the common case; None until it is asked for.
    """

    __slots__ = ("_entries", "_first", "groups", "match")

    def __init__(self) -> None:
        self._first: tuple[K, V] | None = None
        """The only entry; None when there is none, or `_entries` has them."""
        self._entries: dict[K, V] | None = None
        self.match: Match[K, V] | None = None
        self.groups: dict[str, Group[K, V]] = _NO_GROUPS

    def __bool__(self) -> bool:
        return bool(self._first or self._entries or self.groups)

    def add(self, key: K, value: V) -> bool:
        """Add or replace an entry. True if it is new."""
        self.match = None
        if self._entries is None:
            first = self._first
            if first is None or first[0] == key:
                self._first = (key, value)
                return first is None
            self._entries, self._first = {first[0]: first[1]}, None
        new = key not in self._entries
        self._entries[key] = value
        return new

    def remove(self, key: K) -> bool:
        """Take an entry away. False if there was none."""
        self.match = None
        if self._first is not None and self._first[0] == key:
            self._first = None
            return True
        return self._entries is not None and self._entries.pop(key, None) is not None

    def group(self, name: str, text: str) -> Group[K, V]:
        """A shared subscription, which is made if there is none yet; `text` is it as a client writes it."""
        if self.groups is _NO_GROUPS:
            self.match, self.groups = None, {}
        return self.groups.setdefault(name, Group(text))

    def matched(self) -> Match[K, V]:
        """As `match`, made if need be."""
        if self.match is None:
            entries = (self._first,) if self._first is not None else (self._entries or {}).items()
            self.match = Match(entries, self.groups.values())
        return self.match


class _Node(Generic[K, V]):
    """A level of the trie. `leaf` ends a filter here; `rest` ends one here with `#`."""

    __slots__ = ("children", "leaf", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[K, V]] = {}
        self.leaf: _Leaf[K, V] | None = None
        self.rest: _Leaf[K, V] | None = None

    def __bool__(self) -> bool:
        return bool(self.children or self.leaf or self.rest)


class Match(NamedTuple, Generic[K, V]):
    """What matches a topic: entries of plain subscriptions (one per matching filter) and shared groups.

    `overlaps` says that more than one filter matched, so that a key may stand in `entries` more than once.
    """

    entries: Collection[tuple[K, V]]
    groups: Collection[Group[K, V]]
    overlaps: bool = False


_NO_GROUPS: dict[str, Group[Any, Any]] = {}
"""Of a filter without shared subscriptions; nobody writes into it."""
_NOTHING: Match[Any, Any] = Match((), ())


class TopicIndex(Generic[K, V]):
    """Subscriptions by filter."""

    def __init__(self) -> None:
        self._exact: dict[str, _Leaf[K, V]] = {}
        self._root: _Node[K, V] = _Node()
        self._cache: dict[str, tuple[_Leaf[K, V], ...]] = {}
        self.size = 0

    def add(self, text: str, key: K, value: V) -> bool:
        """Subscribe `key` to a filter, shared or not; an entry that exists is replaced. True if it is new.

        Raises:
            ValueError: an invalid shared subscription.
        """
        shared = split_shared(text)
        leaf = self._leaf(shared.topic_filter if shared else text)
        if shared:
            group = leaf.group(shared.group, text)
            group.reset()
            new = key not in group.members
            group.members[key] = value
        else:
            new = leaf.add(key, value)
        self.size += new
        return new

    def remove(self, text: str, key: K) -> bool:
        """Take an entry away, and with the last one the filter. False if there was none."""
        shared = split_shared(text)
        topic_filter = shared.topic_filter if shared else text
        leaf = self._find(topic_filter)
        if leaf is None:
            return False
        if shared:
            group = leaf.groups.get(shared.group)
            if group is None or group.members.pop(key, None) is None:
                return False
            group.reset()
            if not group.members:
                del leaf.groups[shared.group]
        elif not leaf.remove(key):
            return False
        self.size -= 1
        if not leaf:
            self._prune(topic_filter)
        return True

    def regroup(self, text: str) -> None:
        """A member of a shared subscription became available, or no longer is."""
        group = self.group(text)
        if group is not None:
            group.reset()

    def group(self, text: str) -> Group[K, V] | None:
        """The members of a shared subscription, as a client writes it."""
        shared = split_shared(text)
        leaf = self._find(shared.topic_filter) if shared else None
        return leaf.groups.get(shared.group) if shared and leaf else None

    def match(self, topic: str) -> Match[K, V]:
        """What subscribes to a topic name."""
        exact = self._exact.get(topic)
        wild = self._cache.get(topic)
        if wild is None:
            wild = self._walk(topic)
        if not wild:
            return _NOTHING if exact is None else exact.match or exact.matched()
        if exact is None and len(wild) == 1:
            return wild[0].match or wild[0].matched()
        entries: list[tuple[K, V]] = list(exact.matched().entries) if exact else []
        groups: list[Group[K, V]] = list(exact.groups.values()) if exact else []
        for leaf in wild:
            entries += leaf.matched().entries
            groups += leaf.groups.values()
        return Match(entries, groups, len(wild) + (exact is not None) > 1)

    def _leaf(self, topic_filter: str) -> _Leaf[K, V]:
        if not _is_wild(topic_filter):
            return self._exact.setdefault(topic_filter, _Leaf())
        node = self._root
        levels = topic_filter.split("/")
        many = levels[-1] == "#"
        for level in levels[:-1] if many else levels:
            node = node.children.setdefault(level, _Node())
        leaf = node.rest if many else node.leaf
        if leaf is None:
            leaf = _Leaf()
            if many:
                node.rest = leaf
            else:
                node.leaf = leaf
            self._cache.clear()
        return leaf

    def _find(self, topic_filter: str) -> _Leaf[K, V] | None:
        if not _is_wild(topic_filter):
            return self._exact.get(topic_filter)
        levels = topic_filter.split("/")
        many = levels[-1] == "#"
        node: _Node[K, V] | None = self._root
        for level in levels[:-1] if many else levels:
            node = node.children.get(level) if node else None
        if node is None:
            return None
        return node.rest if many else node.leaf

    def _prune(self, topic_filter: str) -> None:
        if not _is_wild(topic_filter):
            del self._exact[topic_filter]
            return
        self._cache.clear()
        levels = topic_filter.split("/")
        many = levels[-1] == "#"
        path = [self._root]
        for level in levels[:-1] if many else levels:
            path.append(path[-1].children[level])
        if many:
            path[-1].rest = None
        else:
            path[-1].leaf = None
        names = levels[: len(path) - 1]
        for parent, name in zip(reversed(path[:-1]), reversed(names), strict=True):
            if parent.children[name]:
                break
            del parent.children[name]

    def _walk(self, topic: str) -> tuple[_Leaf[K, V], ...]:
        """The leaves of wildcard filters that match, remembered."""
        found: list[_Leaf[K, V]] = []
        levels = topic.split("/")
        hidden = topic.startswith("$")  # [MQTT-4.7.2-1]
        layer = [self._root]
        for depth, level in enumerate(levels):
            below: list[_Node[K, V]] = []
            for node in layer:
                skip = hidden and depth == 0
                if node.rest is not None and not skip:
                    found.append(node.rest)
                if (child := node.children.get(level)) is not None:
                    below.append(child)
                if not skip and level != "+" and (child := node.children.get("+")) is not None:
                    below.append(child)
            layer = below
        for node in layer:
            if node.leaf is not None:
                found.append(node.leaf)
            if node.rest is not None:  # `a/#` matches `a` too (§4.7.1.2)
                found.append(node.rest)
        if len(self._cache) >= _CACHE_TOPICS:
            self._cache.clear()
        result = self._cache[topic] = tuple(found)
        return result


def _is_wild(topic_filter: str) -> bool:
    return "+" in topic_filter or "#" in topic_filter
