"""Claims: what members and the broker say about who has received and seen what, and what senders have sent, merged until it is stored.

Pure. One claim per (chat, user), whatever number of acknowledgements it is made of: watermarks only rise, so the highest says it all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from chat.envelopes import Ack, DeliveredMark
from chat.ports import Delivery
from chat.watermarks import Watermark

Key = tuple[str, str]
"""(chat, user)"""


@dataclass(slots=True)
class Claim:
    """One member's claim.

    Attributes:
        sent: the newest of the member's own events; `sent_n` is its `n`.
        sent_from: the first of those that lead up to it with nobody else's between; 0 when they begin with the chat.
        acks: the member's own publishes, to be settled with it.
    """

    delivered: int = 0
    seen: int = 0
    sent: int = 0
    sent_n: int = 0
    sent_from: int = 0
    acks: list[Delivery] = field(default_factory=list)

    @property
    def highest(self) -> int:
        """The highest `seq` that is claimed."""
        return max(self.delivered, self.seen, self.sent)

    @property
    def reported(self) -> bool:
        """Whether it is what the broker has reported and no more, so that nobody waits for an answer."""
        return not self.acks and not self.sent

    def own_only(self, before: Watermark, after: Watermark) -> bool:
        """Whether the move passes nothing but what the member wrote: of that nobody asks whether and when its sender saw it."""
        return after.delivered == after.seen == self.sent and before.seen >= self.sent_from - 1


@dataclass(slots=True)
class Claims:
    """The claims of one interval.

    Attributes:
        reports: the broker's publishes on `$events/delivered`, to be settled when all is stored.
    """

    by_key: dict[Key, Claim] = field(default_factory=dict)
    reports: list[Delivery] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.by_key or self.reports)

    def ack(self, key: Key, ack: Ack, delivery: Delivery) -> None:
        """A member's own acknowledgement."""
        claim = self.by_key.setdefault(key, Claim())
        claim.delivered = max(claim.delivered, ack.delivered or 0)
        claim.seen = max(claim.seen, ack.seen or 0)
        claim.acks.append(delivery)

    def report(self, marks: Iterable[DeliveredMark], delivery: Delivery) -> None:
        """The broker's report of PUBACKs."""
        for mark in marks:
            self._received((mark.chat, mark.user), mark.seq)
        self.reports.append(delivery)

    def sent(self, key: Key, seq: int, n: int) -> None:
        """A member's own event is stored: they have received and seen everything up to it."""
        claim = self.by_key.get(key)
        if claim is None:
            claim = self.by_key[key] = Claim()
        if seq > claim.sent:
            if seq != claim.sent + 1:
                claim.sent_from = seq
            claim.sent, claim.sent_n = seq, n

    def chats(self) -> set[str]:
        """The chats that are claimed about."""
        return {chat for chat, _ in self.by_key}

    def hold_back(self, held: Claims, chats: Collection[str]) -> None:
        """Give `held` what the broker has reported of these chats, and the reports with it: they are settled when all of it is stored."""
        back = [key for key, claim in self.by_key.items() if key[0] in chats and claim.reported]
        for key in back:
            held._received(key, self.by_key.pop(key).delivered)
        if back:
            held.reports += self.reports
            self.reports = []

    def take(self, held: Claims) -> None:
        """Take over what was held back."""
        for key, claim in held.by_key.items():
            self._received(key, claim.delivered)
        self.reports += held.reports
        held.by_key, held.reports = {}, []

    def _received(self, key: Key, seq: int) -> None:
        claim = self.by_key.setdefault(key, Claim())
        claim.delivered = max(claim.delivered, seq)

    def deliveries(self) -> Iterable[Delivery]:
        """Everything that waits to be settled."""
        yield from self.reports
        for claim in self.by_key.values():
            yield from claim.acks
