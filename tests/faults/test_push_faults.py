"""Pushes while the provider refuses, asks to wait and hangs, and worker and Valkey are killed: none is forgotten, none is sent too early, what is
final is final.

`make faults` pushes 20,000 (PUSHES=…, SEED=…); the test suite some hundred.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import LONG
from tests.faults.checker import summary
from tests.faults.push_checker import UNDER_WAY, Asked, Attempt, Fate, PushRun, check
from tests.faults.push_world import FAULTS, PushWorld, push_world
from tests.faults.schedule import schedule

PUSHES = int(os.environ.get("PUSHES") or (20_000 if LONG else 150))
SEED = int(os.environ.get("SEED") or secrets.randbelow(1_000_000))
ROUND = 2_000
"""Pushes between two looks at what the emulator has written down: it keeps 10,000, and 1,000 rules."""

HANGS = 2 if LONG else 0
"""Of each part of a round: each of them keeps a thread of a worker for ten seconds."""

PATIENCE = 400.0
"""Seconds until the last mark is gone, on a machine that has much else to do; usually some tens."""

pytestmark = [pytest.mark.faults, pytest.mark.timeout(PUSHES / 5 + 900)]


def fates(chance: random.Random, count: int) -> list[tuple[Fate, float]]:
    """What the provider will do, in a seeded order; about a third is not taken at once."""
    odd = [Fate.QUOTA, Fate.QUOTA, Fate.UNAVAILABLE, Fate.INTERNAL, Fate.INVALID, Fate.GONE]
    found: list[tuple[Fate, float]] = []
    for number in range(count):
        fate = chance.choice(odd) if number % 3 == 0 else Fate.TAKEN
        named = fate is Fate.QUOTA or (fate is Fate.UNAVAILABLE and chance.random() < 0.5)
        found.append((fate, float(chance.randint(1, 3)) if named else 0.0))
    found[:HANGS] = [(Fate.HANGS, 0.0)] * HANGS
    chance.shuffle(found)
    return found


async def strike(world: PushWorld, seed: int, ended: asyncio.Event) -> int:
    """Faults in a seeded order until told to end; how many that were."""
    chance, count = random.Random(seed), 0  # noqa: S311 -- reproducible on purpose
    for step in schedule(seed, list(FAULTS), seconds=3600).steps:
        try:
            await asyncio.wait_for(ended.wait(), step.wait / (2 if LONG else 4))
        except TimeoutError:
            await asyncio.to_thread(world.strike, step.fault, chance)
            count += 1
        else:
            break
    return count


async def test_no_push_is_forgotten_sent_too_early_or_again(
    mongo_url: str, mongo_database: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(SEED)  # noqa: S311 -- reproducible on purpose
    kills, began = 0, time.monotonic()
    async with push_world(mongo_url, mongo_database, tmp_path) as world:
        for number, start in enumerate(range(0, PUSHES, ROUND)):
            count = min(ROUND, PUSHES - start)
            calm = await world.prepare(fates(chance, count // 3))
            await world.send(calm, chance)  # the first third without kills, so that nothing is excused
            await world.settled(calm, patience=PATIENCE)
            assert not check(world.run), f"seed {SEED}, before any kill: {summary(check(world.run))}"
            wild, ended = await world.prepare(fates(chance, count - count // 3)), asyncio.Event()
            striking = asyncio.create_task(strike(world, SEED + number, ended))
            for part in range(0, len(wild), 100):
                await world.send(wild[part : part + 100], chance)
                await asyncio.sleep(0.5)
            await asyncio.sleep(2.0)
            ended.set()
            kills += await striking
            await world.settled(wild, patience=PATIENCE)
    run, findings = world.run, check(world.run)
    with capfd.disabled():
        sys.stdout.write(
            f"\nseed {SEED}: {len(run.asked)} pushes in {time.monotonic() - began:.0f} s, {len(run.attempts)} requests "
            f"{dict(Counter(attempt.status for attempt in run.attempts))}, {kills} kills, {run.excused} pushes under way at one; "
            f"findings: {summary(findings) or 'none'}\n"
        )
    assert not findings, f"seed {SEED}: {summary(findings)}"
    assert len(run.asked) == PUSHES
    assert kills > 0
    assert PUSHES < 1_000 or {attempt.status for attempt in run.attempts} == {200, 400, 404, 429, 500, 503}


# -- the checker is itself tried ---------------------------------------------------------------------------------------

TAKEN = PushRun([Asked("m", "t", Fate.TAKEN)], [Attempt("t", 200, 10.0)], tokens={"t"})
QUOTA = PushRun([Asked("m", "t", Fate.QUOTA, 3.0)], [Attempt("t", 429, 10.0), Attempt("t", 200, 13.0)], tokens={"t"})
INVALID = PushRun([Asked("m", "t", Fate.INVALID)], [Attempt("t", 400, 10.0)], parked={"m"}, tokens={"t"})
GONE = PushRun([Asked("m", "t", Fate.GONE)], [Attempt("t", 404, 10.0)])


@pytest.mark.parametrize(
    ("run", "kinds"),
    [
        (TAKEN, []),
        (QUOTA, []),
        (INVALID, []),
        (GONE, []),
        (replace(TAKEN, marked={"m"}), ["forgotten"]),
        (replace(TAKEN, attempts=[]), ["forgotten"]),
        (replace(TAKEN, attempts=[], parked={"m"}), []),
        (replace(QUOTA, attempts=QUOTA.attempts[:1]), ["forgotten"]),
        (replace(QUOTA, attempts=[Attempt("t", 429, 10.0), Attempt("t", 200, 12.9)]), ["early"]),
        (replace(QUOTA, attempts=[Attempt("t", 429, 10.0), Attempt("t", 200, 11.0)], kills=[10.5]), []),
        (replace(QUOTA, attempts=[Attempt("t", 429, 10.0), Attempt("t", 200, 12.9)], kills=[11.5]), ["early"]),
        (replace(INVALID, attempts=[Attempt("t", 400, 10.0), Attempt("t", 200, 20.0)]), ["retried"]),
        (replace(INVALID, attempts=[Attempt("t", 400, 10.0), Attempt("t", 200, 20.0)], kills=[10.0 + UNDER_WAY]), []),
        (replace(INVALID, parked=set()), ["forgotten", "unparked"]),
        (replace(GONE, attempts=[Attempt("t", 404, 10.0), Attempt("t", 404, 20.0)]), ["retried"]),
        (replace(GONE, tokens={"t"}), ["undead"]),
        (replace(TAKEN, attempts=[*TAKEN.attempts, Attempt("x", 200, 10.0)]), ["unasked"]),
    ],
)
def test_the_checker_finds_each_kind_of_contradiction(run: PushRun, kinds: list[str]) -> None:
    assert [finding.kind for finding in check(run)] == kinds
