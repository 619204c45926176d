"""How a session listens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subscription:
    """How a session subscribed to one filter."""

    topic_filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    identifiers: tuple[int, ...] = ()

    def merged_with(self, other: Subscription) -> Subscription:
        """How the one copy of a message that both match is delivered: nothing that either asked for is missing."""
        return Subscription(
            self.topic_filter,
            max(self.qos, other.qos),
            retain_as_published=self.retain_as_published or other.retain_as_published,
            identifiers=self.identifiers + other.identifiers,
        )
