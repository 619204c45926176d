"""What a job holds of each chat while it pushes: its marked messages, and what becomes of them. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from chat.envelopes import Event
from chat.models import PushToken
from chat.push_preferences import Shows
from chat.pushes import Marked, Pushed, Rule, of_token
from workers.push.notification import Words

KEPT = 50
"""Older messages of a chat that keep their mark while a newer one waits: when that is deleted, they are what is pushed. More would have a
token that is held for hours gather work without end."""


class Ending(StrEnum):
    """What became of a marked event in one job."""

    DONE = "done"
    GONE = "gone"  # the mark was gone: another job has done it
    BUSY = "busy"  # another job is at the chat, or it rests after a push
    SKIPPED = "skipped"  # nobody is pushed for such an event
    WAIT = "wait"  # somebody looks connected and may get it yet, or the quota is used up
    RETRY = "retry"  # the provider wants some of it later
    PARKED = "parked"  # given up as a whole, in dead letters


@dataclass(frozen=True, slots=True)
class Comeback:
    """Events that have to be looked at again.

    Attributes:
        message_ids: of one chat.
        after: seconds.
        tries: how often that failed through a fault of ours, this one included.
    """

    message_ids: tuple[str, ...]
    after: float
    tries: int = 0


@dataclass(slots=True)
class Outcome:
    """What one job has done."""

    endings: Counter[Ending] = field(default_factory=Counter)
    comebacks: list[Comeback] = field(default_factory=list)


@dataclass(slots=True)
class ChatWork:
    """The marked messages of one chat.

    Attributes:
        events: the newest first.
        words: what people call the chat and its senders, by sender.
        woken: somebody's screen has lit up.
    """

    chat: str
    events: list[Marked]
    words: dict[str, Words] = field(default_factory=dict)
    woken: bool = False
    _later: dict[str, tuple[datetime, Ending]] = field(default_factory=dict)
    _suppressed: Counter[tuple[str, Rule]] = field(default_factory=Counter)

    def add(self, events: Iterable[Marked]) -> None:
        """More of its messages; those that it has are no news."""
        known = {marked.event.id: marked for marked in self.events} | {marked.event.id: marked for marked in events}
        self.events = sorted(known.values(), key=lambda marked: marked.event.seq, reverse=True)

    def drop(self, event: Event) -> None:
        """Nobody is pushed for this one."""
        self.events = [marked for marked in self.events if marked.event.id != event.id]

    def suppress(self, suppressed: Sequence[tuple[Event, Rule]]) -> None:
        """Somebody is not pushed these; it counts once their marks come off."""
        self._suppressed.update((event.id, rule) for event, rule in suppressed)

    def later(self, event: Event, at: datetime, ending: Ending) -> None:
        """Somebody is still to be pushed this one, not before `at`."""
        known = self._later.get(event.id)
        if known is None or at < known[0]:
            self._later[event.id] = (at, ending)

    def left(self) -> list[Marked]:
        """What keeps its mark: what waits, and what would be pushed in its place if it were deleted."""
        newest = max((m.event.seq for m in self.events if m.event.id in self._later), default=0)
        older = [marked for marked in self.events if marked.event.seq <= newest]
        return [m for place, m in enumerate(older) if m.event.id in self._later or place < KEPT]

    def due(self) -> tuple[datetime, Ending]:
        """When the first of what is left is due, and for what it waits."""
        return min(self._later.values())

    def suppressed(self) -> Counter[Rule]:
        """How many pushes each rule has ended, of the messages that are done with."""
        left = {marked.event.id for marked in self.left()}
        ended: Counter[Rule] = Counter()
        for (message_id, rule), count in self._suppressed.items():
            if message_id not in left:
                ended[rule] += count
        return ended


@dataclass(frozen=True, slots=True)
class Errand:
    """One push that is to be made."""

    work: ChatWork
    marked: Marked
    token: PushToken
    shows: Shows

    @property
    def key(self) -> tuple[str, str]:
        """Under which progress of it is kept."""
        return self.work.chat, of_token(self.token.token)


def is_done(marked: Marked, known: Pushed | None) -> bool:
    """Whether a token needs a message no more: it was pushed that one, or a newer one of the chat."""
    return known is not None and known.seq >= marked.event.seq
