"""An application message inside the broker: what is routed, queued, retained and delivered."""

from __future__ import annotations

from mqtt.decode import V5
from mqtt.encode import publish_parts
from mqtt.packets import Properties

_EMPTY: Properties = {}
_UNMADE = (b"", b"")


class Message:
    """One published message. It is shared by all its receivers, so nothing of it changes after it was made.

    Args:
        topic: topic name.
        payload: application bytes.
        qos: as published.
        retain: as published.
        properties: those that travel on to subscribers.
        expires_at: when it is no longer to be delivered, in seconds of the broker's clock; None for never.
        mark: what to report when a subscriber acknowledges it: a number that means something to the publisher.
        publisher: client id, for no-local; "" for the broker's own.

    Attributes:
        key: of its record in the journal, while `references` to that are counted.
    """

    __slots__ = (
        "_kind",
        "_others",
        "_parts",
        "expires_at",
        "key",
        "mark",
        "payload",
        "properties",
        "publisher",
        "qos",
        "references",
        "retain",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        publisher: str = "",
        *,
        properties: Properties | None = None,
        expires_at: float | None = None,
        mark: int | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties or _EMPTY
        self.expires_at = expires_at
        self.mark = mark
        self.publisher = publisher
        self.key = 0
        self.references = 0
        self._kind = 0
        self._parts = _UNMADE
        self._others: dict[int, tuple[bytes, bytes]] | None = None
        """Most messages have receivers of one kind only, and a dictionary costs more than all the rest of a message."""

    def parts(self, version: int, qos: int, *, retain: bool) -> tuple[bytes, bytes]:
        """The PUBLISH around its packet id (see `publish_parts`), encoded once per kind of receiver."""
        kind = version << 3 | qos << 1 | retain
        if kind == self._kind:
            return self._parts
        if not self._kind:
            self._kind = kind
            self._parts = publish_parts(self.topic, self.payload, qos, retain, version, self.properties)
            return self._parts
        if self._others is None:
            self._others = {}
        found = self._others.get(kind)
        if found is None:
            found = publish_parts(self.topic, self.payload, qos, retain, version, self.properties)
            self._others[kind] = found
        return found

    def parts_now(
        self,
        version: int,
        qos: int,
        *,
        retain: bool,
        now: float,
        identifiers: tuple[int, ...],
        alias: int = 0,
        topic: bool = True,
    ) -> tuple[bytes, bytes]:
        """The same for a receiver with subscription identifiers or a topic alias, or a message that expires: what is left
        of its lifetime is counted down [MQTT-3.3.2-6]. Without `topic`, the alias stands for it.
        """
        if version != V5 or (self.expires_at is None and not identifiers and not alias):
            return self.parts(version, qos, retain=retain)
        properties = self.properties.copy()
        if self.expires_at is not None:
            properties["message_expiry_interval"] = max(0, round(self.expires_at - now))
        if identifiers:
            properties["subscription_identifier"] = list(identifiers)
        if alias:
            properties["topic_alias"] = alias
        return publish_parts(self.topic if topic else "", self.payload, qos, retain, version, properties)

    def expired(self, now: float) -> bool:
        """Whether its lifetime is over [MQTT-3.3.2-5]."""
        return self.expires_at is not None and now >= self.expires_at
