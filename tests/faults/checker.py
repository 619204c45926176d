"""The checker: what clients did and saw, and what is stored, against the promises. Pure: it finds every contradiction.

| finding | promise |
|---|---|
| `lost` | P1, P2: acknowledged, but not stored |
| `phantom` | P2: stored or received, but never sent |
| `twice` | P4: one id has more than one row |
| `gap` | P3: `seq` of a chat is not 1, 2, 3, … |
| `count` | P3: `n` does not count the messages |
| `missed` | P2, P7: a member did not get a stored message |
| `changed` | P3: a member got an event that is not the stored one of that `seq` |
| `order` | P3: a member got a chat's events out of order or again |
| `history` | P1, P4: the API's history does not show an acknowledged message exactly once |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """A stored or received event."""

    chat: str
    seq: int
    id: str
    n: int = 0
    type: str = "message"
    sender: str = ""


@dataclass(slots=True)
class Run:
    """Everything that is known about a run.

    Attributes:
        sent: id to (chat, sender) of everything that a client tried to send.
        acked: ids that a client was told are stored.
        stored: rows of the database.
        received: member to the events that it was given, in that order.
        history: ids that the API's history shows, per chat.
    """

    sent: dict[str, tuple[str, str]] = field(default_factory=dict)
    acked: set[str] = field(default_factory=set)
    stored: list[Row] = field(default_factory=list)
    received: dict[str, list[Row]] = field(default_factory=dict)
    history: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One contradiction."""

    kind: str
    detail: str


def check(run: Run) -> list[Finding]:
    """Every contradiction between the promises and a run."""
    return [*_stored(run), *_order(run), *_received(run), *_history(run)]


def summary(findings: list[Finding]) -> str:
    """Counts by kind and the first of each, for people."""
    counts = Counter(finding.kind for finding in findings)
    first = {finding.kind: finding.detail for finding in reversed(findings)}
    return "; ".join(f"{count} x {kind} (such as {first[kind]})" for kind, count in counts.items())


def _stored(run: Run) -> list[Finding]:
    found = []
    rows = Counter(row.id for row in run.stored)
    found += [Finding("lost", message) for message in sorted(run.acked) if not rows[message]]
    found += [Finding("twice", message) for message, count in rows.items() if count > 1]
    for row in run.stored:
        if row.type != "void" and run.sent.get(row.id) != (row.chat, row.sender):
            found.append(Finding("phantom", f"{row.chat}/{row.seq} {row.id} by {row.sender}"))
    return found


def _order(run: Run) -> list[Finding]:
    found = []
    chats: dict[str, list[Row]] = defaultdict(list)
    for row in run.stored:
        chats[row.chat].append(row)
    for chat, rows in chats.items():
        rows.sort(key=lambda row: row.seq)
        messages = 0
        for place, row in enumerate(rows, start=1):
            messages += row.type == "message"
            if row.seq != place:
                found.append(Finding("gap", f"{chat}: place {place} holds seq {row.seq}"))
                break
            if row.n != messages:
                found.append(Finding("count", f"{chat}/{row.seq}: n is {row.n}, messages are {messages}"))
                break
    return found


def _received(run: Run) -> list[Finding]:
    found = []
    stored = {(row.chat, row.seq): row.id for row in run.stored}
    messages = {row.id for row in run.stored if row.type == "message"}
    for member, rows in run.received.items():
        last: dict[str, int] = {}
        for row in rows:
            if row.seq <= last.get(row.chat, 0):
                found.append(Finding("order", f"{member}: {row.chat}/{row.seq} after {last[row.chat]}"))
            last[row.chat] = row.seq
            known = stored.get((row.chat, row.seq))
            if known is None:
                found.append(Finding("phantom", f"{member}: {row.chat}/{row.seq} is not stored"))
            elif known != row.id:
                found.append(Finding("changed", f"{member}: {row.chat}/{row.seq} is {known}, not {row.id}"))
        got = {row.id for row in rows}
        found += [Finding("missed", f"{member}: {message}") for message in sorted(messages - got)]
    return found


def _history(run: Run) -> list[Finding]:
    if not run.history:
        return []
    shown = Counter(message for ids in run.history.values() for message in ids)
    return [Finding("history", f"{message} x {shown[message]}") for message in sorted(run.acked) if shown[message] != 1]
