"""The checker: what clients did and saw, and what is stored, against the promises. Pure: it finds every contradiction.

| finding | promise |
|---|---|
| `lost` | P1, P2: acknowledged, but not stored |
| `ghost` | P1: refused for good, but stored |
| `phantom` | P2: stored or received, but never sent |
| `twice` | P4: one message has more than one row |
| `gap` | P3: `seq` of a chat is not 1, 2, 3, … |
| `count` | P3: `n` does not count the messages |
| `missed` | P2, P7: a member did not get a stored message |
| `changed` | P3: a member got an event that is not the stored one of that `seq` |
| `order` | P3: a member got a chat's events out of order or again |
| `history` | P1, P4: the API's history does not show an acknowledged message exactly once |
| `intruder` | P5: somebody who is no member was let in |
| `watermark` | P6: `seen <= delivered <= last` does not hold, or the count of what was seen is wrong |
| `sank` | P6: a watermark went down |
| `unbounded` | P8: something grew over its bound |
| `unparked` | P9: told that it was kept, and it is not in dead letters |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What a client knows of an operation in the end. Of what is unknown nothing follows: it may have happened or not."""

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Operation:
    """One line of a client's history.

    Attributes:
        kind: `send`, `repeat` (the same message again), `intrude` (by somebody who is no member).
        id: of the message.
        code: why it failed.
        began, ended: seconds since the run began; `ended` is None as long as the outcome is unknown.
    """

    client: str
    kind: str
    chat: str
    id: str
    outcome: Outcome = Outcome.UNKNOWN
    code: str = ""
    began: float = 0.0
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A stored or received event. `token` is the id that its sender wrote into the text: two rows with one are one message."""

    chat: str
    seq: int
    id: str
    n: int = 0
    type: str = "message"
    sender: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A member's watermarks as they were stored at some time."""

    chat: str
    user: str
    delivered: int
    seen: int
    seen_n: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Something that has a bound, as it was measured at some time."""

    what: str
    value: float
    bound: float


@dataclass(slots=True)
class Run:
    """Everything that is known about a run.

    Attributes:
        operations: of all clients, in the order in which they began.
        stored: rows of the database at the end.
        received: user to the events that they were given, in that order.
        history: ids that the API's history shows, per chat.
        members: users per chat; none: nobody asked.
        marks: watermarks in the order in which they were read, the last ones at the end.
        samples: of what has a bound.
        letters: message ids in dead letters.
    """

    operations: list[Operation] = field(default_factory=list)
    stored: list[Row] = field(default_factory=list)
    received: dict[str, list[Row]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)
    members: dict[str, set[str]] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    letters: set[str] = field(default_factory=set)

    @property
    def sent(self) -> dict[str, tuple[str, str]]:
        """Id to (chat, sender) of everything that a member tried to send."""
        return {one.id: (one.chat, one.client) for one in self.operations if one.kind == "send"}

    @property
    def acked(self) -> set[str]:
        """Ids that a client was told are stored."""
        return {one.id for one in self.operations if one.outcome is Outcome.OK and one.kind != "intrude"}

    @property
    def refused(self) -> dict[str, str]:
        """Ids of which every try was refused, and why the last one was."""
        codes = {one.id: one.code for one in self.operations if one.outcome is Outcome.FAIL}
        others = {one.id for one in self.operations if one.outcome is not Outcome.FAIL}
        return {message: code for message, code in codes.items() if message not in others}


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction."""

    kind: str
    detail: str


def check(run: Run) -> list[Finding]:
    """Every contradiction between the promises and a run."""
    parts = (_stored, _order, _received, _history, _intruders, _watermarks, _bounds, _parked)
    return [finding for part in parts for finding in part(run)]


def summary(findings: list[Finding]) -> str:
    """Counts by kind and the first of each, for people."""
    counts = Counter(finding.kind for finding in findings)
    first = {finding.kind: finding.detail for finding in reversed(findings)}
    return "; ".join(f"{count} x {kind} (such as {first[kind]})" for kind, count in counts.items())


def _stored(run: Run) -> Iterator[Finding]:
    ids = {row.id for row in run.stored}
    sent = run.sent
    yield from (Finding("lost", message) for message in sorted(run.acked - ids))
    yield from (Finding("ghost", f"{message}: {code}") for message, code in run.refused.items() if message in ids)
    messages = Counter(row.token or row.id for row in run.stored)
    yield from (Finding("twice", message) for message, count in messages.items() if count > 1)
    for row in run.stored:
        if row.type != "void" and sent.get(row.id) != (row.chat, row.sender):
            yield Finding("phantom", f"{row.chat}/{row.seq} {row.id} by {row.sender}")


def _chats(run: Run) -> dict[str, list[Row]]:
    chats: dict[str, list[Row]] = defaultdict(list)
    for row in run.stored:
        chats[row.chat].append(row)
    for rows in chats.values():
        rows.sort(key=lambda row: row.seq)
    return chats


def _order(run: Run) -> Iterator[Finding]:
    for chat, rows in _chats(run).items():
        messages = 0
        for place, row in enumerate(rows, start=1):
            messages += row.type == "message"
            if row.seq != place:
                yield Finding("gap", f"{chat}: place {place} holds seq {row.seq}")
                break
            if row.n != messages:
                yield Finding("count", f"{chat}/{row.seq}: n is {row.n}, messages are {messages}")
                break


def _received(run: Run) -> Iterator[Finding]:
    stored = {(row.chat, row.seq): row.id for row in run.stored}
    messages = {row.id: row.chat for row in run.stored if row.type == "message"}
    for user, rows in run.received.items():
        last: dict[str, int] = {}
        for row in rows:
            if row.seq <= last.get(row.chat, 0):
                yield Finding("order", f"{user}: {row.chat}/{row.seq} after {last[row.chat]}")
            last[row.chat] = row.seq
            known = stored.get((row.chat, row.seq))
            if known is None:
                yield Finding("phantom", f"{user}: {row.chat}/{row.seq} is not stored")
            elif known != row.id:
                yield Finding("changed", f"{user}: {row.chat}/{row.seq} is {known}, not {row.id}")
        theirs = {id_ for id_, chat in messages.items() if not run.members or user in run.members.get(chat, ())}
        yield from (Finding("missed", f"{user}: {message}") for message in sorted(theirs - {row.id for row in rows}))


def _history(run: Run) -> Iterator[Finding]:
    if not run.history:
        return
    shown = Counter(message for ids in run.history.values() for message in ids)
    for message in sorted(run.acked):
        if shown[message] != 1:
            yield Finding("history", f"{message} x {shown[message]}")


def _intruders(run: Run) -> Iterator[Finding]:
    for one in run.operations:
        if one.kind == "intrude" and one.outcome is Outcome.OK:
            yield Finding("intruder", f"{one.client} in {one.chat}")
    if run.members:
        for user, rows in run.received.items():
            for chat in sorted({row.chat for row in rows}):
                if user not in run.members.get(chat, ()):
                    yield Finding("intruder", f"{user} heard {chat}")


def _watermarks(run: Run) -> Iterator[Finding]:
    places = {chat: {row.seq: row.n for row in rows} for chat, rows in _chats(run).items()}
    before: dict[tuple[str, str], Mark] = {}
    for mark in run.marks:
        who, ns = f"{mark.user} in {mark.chat}", places.get(mark.chat, {})
        old = before.get((mark.chat, mark.user), mark)
        if mark.delivered < old.delivered or mark.seen < old.seen or mark.seen_n < old.seen_n:
            yield Finding("sank", f"{who}: {old} became {mark}")
        before[mark.chat, mark.user] = mark
        if not mark.seen <= mark.delivered <= len(ns):
            yield Finding("watermark", f"{who}: seen {mark.seen}, delivered {mark.delivered}, last {len(ns)}")
        elif mark.seen_n != ns.get(mark.seen, 0):
            yield Finding("watermark", f"{who}: {mark.seen_n} seen up to {mark.seen}, there are {ns.get(mark.seen, 0)}")


def _bounds(run: Run) -> Iterator[Finding]:
    for sample in run.samples:
        if sample.value > sample.bound:
            yield Finding("unbounded", f"{sample.what}: {sample.value:g} of {sample.bound:g}")


def _parked(run: Run) -> Iterator[Finding]:
    for message, code in run.refused.items():
        if code == "dead_letter" and message not in run.letters:
            yield Finding("unparked", message)
