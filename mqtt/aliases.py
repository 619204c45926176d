"""Topic aliases of MQTT 5.0 (§3.3.2.3.4): a small number instead of a topic that repeats, within one connection."""

from __future__ import annotations

from mqtt.packets import Publish
from mqtt.reasons import ProtocolViolation, Reason, protocol_error

ALIAS_BYTES = 2 + 3 + 2
"""The most that an alias adds to a PUBLISH: the property, and the length fields and the packet id beside it."""


class SentAliases:
    """Numbers that we give to topics; the one that was used longest ago makes room.

    Args:
        most: how many the client takes [MQTT-3.3.2-11].
    """

    __slots__ = ("_most", "_numbers")

    def __init__(self, most: int) -> None:
        self._most = most
        self._numbers: dict[str, int] = {}

    def use(self, topic: str) -> tuple[int, bool]:
        """The number of a topic, and whether the client knows it already."""
        numbers = self._numbers
        number = numbers.pop(topic, None)
        known = number is not None
        if number is None:
            number = len(numbers) + 1 if len(numbers) < self._most else numbers.pop(next(iter(numbers)))
        numbers[topic] = number  # the newest stand last
        return number, known


class ReceivedAliases:
    """Numbers that the client gives to topics.

    Args:
        most: how many it may.
    """

    __slots__ = ("_most", "_topics")

    def __init__(self, most: int) -> None:
        self._most = most
        self._topics: dict[int, str] = {}

    def resolve(self, packet: Publish) -> None:
        """Give a PUBLISH with an alias its topic, and take the alias off.

        Raises:
            ProtocolViolation: a number that may not be used [MQTT-3.3.2-8, -9], or that stands for nothing.
        """
        number = packet.properties.pop("topic_alias")
        if not 0 < number <= self._most:
            raise ProtocolViolation(Reason.TOPIC_ALIAS_INVALID, f"topic alias {number}; {self._most} is the highest")
        if packet.topic:
            self._topics[number] = packet.topic
            return
        topic = self._topics.get(number)
        if topic is None:
            raise protocol_error("a topic alias that was given to no topic")
        packet.topic = topic
