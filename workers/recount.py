"""`python -m workers.recount [--repair]`: count anew what unread counts follow from, and compare it with what is stored (P6).

Unread counts are `last_n - seen_n`: of the newest event of a chat, and of the event up to which a member has seen it. Both come from the
events, which do not change their place, so counting beside a running system finds no difference either. Checked per membership:

* `seen_n` is the `n` of the event at `seen_seq`;
* `seen_seq <= delivered_seq <= seq of the newest event`;
* `hides_seen` is what the user wishes.

Prints one line of JSON per difference and one at the end; exit code 1 when there is a difference that is not repaired, 2 when the database
does not answer. A difference is a fault of ours: keep what was printed. Settings: `PABAL_MONGO_URL`, `PABAL_MONGO_DATABASE`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace
from pydantic import ValidationError

from adapters.mongo import open_stores
from adapters.stores import Stores
from chat.errors import Unavailable
from chat.models import Head, Member
from workers.settings import WorkerSettings

PAGE = 1_000
"""Memberships that are read and checked at once."""


@dataclass(slots=True)
class Tally:
    """What was found.

    Attributes:
        differences: (as stored, as it should be).
        repaired: how many of them were set right; one that has changed meanwhile is not, and is found again or not by the next run.
    """

    memberships: int = 0
    chats: set[str] = field(default_factory=set)
    differences: list[tuple[Member, Member]] = field(default_factory=list)
    repaired: int = 0


async def recount(stores: Stores, *, repair: bool, tell: Callable[[dict[str, Any]], None]) -> Tally:
    """Check every membership.

    Args:
        repair: set right what is wrong.
        tell: is handed each difference.

    Raises:
        Unavailable: the database does not answer; what was repaired stays so.
    """
    tally = Tally()
    async for page in _pages(stores):
        tally.memberships += len(page)
        tally.chats.update(member.chat for member in page)
        for member, correct in zip(page, await right(stores, page), strict=True):
            if member == correct:
                continue
            tally.differences.append((member, correct))
            done = repair and await stores.chats.correct(member, correct)
            tally.repaired += done
            tell({**differences(member, correct), "repaired": done})
    return tally


async def _pages(stores: Stores) -> AsyncIterator[list[Member]]:
    after = ("", "")
    while page := await stores.chats.scan(after=after, limit=PAGE):
        yield page
        after = (page[-1].chat, page[-1].user)


async def right(stores: Stores, page: Sequence[Member]) -> list[Member]:
    """The memberships as they should be. Rows first, heads after them: a head is never behind what a row has seen."""
    heads = await stores.messages.heads(sorted({member.chat for member in page}))
    hiding = await stores.users.hiding(sorted({member.user for member in page}))
    ns = await _ns(stores, page, heads)
    found: list[Member] = []
    for member in page:
        last = heads[member.chat].seq
        seen = min(member.seen_seq, last)
        found.append(
            replace(
                member,
                seen_seq=seen,
                delivered_seq=max(min(member.delivered_seq, last), seen),
                seen_n=ns[member.chat, seen],
                hides_seen=member.user in hiding,
            )
        )
    return found


async def _ns(stores: Stores, page: Sequence[Member], heads: dict[str, Head]) -> dict[tuple[str, int], int]:
    """The `n` at each place that somebody has seen up to."""
    places: defaultdict[str, set[int]] = defaultdict(set)
    for member in page:
        places[member.chat].add(min(member.seen_seq, heads[member.chat].seq))
    ns: dict[tuple[str, int], int] = {}
    for chat, seqs in places.items():
        known = {0: 0} | await stores.messages.n_at(chat, sorted(seqs - {0}))
        for seq in seqs:
            if seq not in known:  # a slot that no bridge has filled yet has the `n` of the one below
                below = await stores.messages.before(chat, seq, 1)
                known[seq] = below[0].n if below else 0
            ns[chat, seq] = known[seq]
    return ns


def differences(member: Member, correct: Member) -> dict[str, Any]:
    """What differs, for people: whose, and by field what is stored and what is right."""
    changed = {
        name: [getattr(member, name), getattr(correct, name)]
        for name in ("delivered_seq", "seen_seq", "seen_n", "hides_seen")
        if getattr(member, name) != getattr(correct, name)
    }
    return {"chat": member.chat, "user": member.user, "stored_and_right": changed}


def _print(line: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")


async def _run(settings: WorkerSettings, *, repair: bool) -> int:
    stores = await open_stores(settings.mongo_url, settings.mongo_database)
    try:
        tally = await recount(stores, repair=repair, tell=_print)
    finally:
        await stores.close()
    differences = len(tally.differences)
    _print(
        {
            "memberships": tally.memberships,
            "chats": len(tally.chats),
            "differences": differences,
            "repaired": tally.repaired,
        }
    )
    return 1 if differences > tally.repaired else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Count anew; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workers.recount", description="Count unread counts anew.")
    parser.add_argument("--repair", action="store_true", help="set right what is wrong")
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(_run(WorkerSettings(), repair=options.repair))
    except (ValidationError, Unavailable) as error:
        sys.stderr.write(f"recount: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
