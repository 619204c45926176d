"""Everything that can go wrong, one after the other in an order that a seed gives, while people write: P1 to P9 hold.

`make faults FAULTS=mongo_primary_killed,link_cut MINUTES=10 SEED=7` runs longer; without a seed each run takes another one and
prints it. In the test suite it is short.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.state import State
from tests.conftest import LONG, Stacks
from tests.faults.checker import Outcome, check, summary
from tests.faults.faults import FAULTS, Scene
from tests.faults.schedule import Schedule, schedule
from tests.faults.workload import Workload

MINUTES = float(os.environ.get("MINUTES") or 0.75)
SEED = int(os.environ.get("SEED") or secrets.randbelow(1_000_000))
ELSEWHERE = {
    "mongo_primary_killed",
    "mongo_primary_frozen",
    "broker_killed",
    "api_killed",
    "worker_killed",
    "valkey_killed",
}
"""Faults that have tests of their own: in the schedule with LONG=1, or when they are asked for."""
ASKED = [name for name in os.environ.get("FAULTS", "").replace(" ", "").split(",") if name]
CHOSEN = ASKED or [name for name in FAULTS if LONG or name not in ELSEWHERE]
DISK_MIB = 400 + int(60 * MINUTES)
"""Holds the data of the run, its oplog and journal."""

OUTBOX = 4_000

LARGE = {"PABAL_BRIDGE_RECEIPTS_NAMED": "1"}
"""Makes every chat a large one, which writes its receipts in another way: with odd seeds."""

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(MINUTES * 120 + 600)]


@contextlib.contextmanager
def small_disk(root: Path) -> Iterator[Path | None]:
    """A disk of its own below the state directory, where we may mount one."""
    where = State.at(root).directory("mongo2")
    where.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", str(where)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield where if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(where)], check=True)


def tell(text: str) -> None:
    """To whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Writing:
    """Members who write all the time, as fast as the outboxes empty."""

    def __init__(self, work: Workload) -> None:
        self._work = work
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name="writing", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._ended.is_set():
            waiting = len(self._work.run.operations) - self._work.acked()
            if waiting < OUTBOX // 4:
                self._work.send(100)
            self._ended.wait(0.02)


def play(plan: Schedule, scene: Scene) -> None:
    """One fault after the other, each told as it strikes."""
    for number, step in enumerate(plan.steps, start=1):
        time.sleep(step.wait)
        before = scene.work.acked()
        FAULTS[step.fault](scene)
        tell(f"{number:>3} of {len(plan.steps)}  {step.fault:<28} {before:>8} acknowledged")


def test_a_seeded_schedule_of_faults(tmp_path: Path, module_stacks: Stacks, capfd: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "stack"
    unknown = sorted(set(CHOSEN) - set(FAULTS))
    assert not unknown, f"{unknown}: faults are {', '.join(FAULTS)}"
    with small_disk(root) as disk, capfd.disabled():
        faults = [name for name in CHOSEN if name != "disk_full" or disk]
        plan = schedule(SEED, faults, seconds=MINUTES * 60)
        tell(f"\n{plan}")
        stack = module_stacks(root, mongo_nodes=3, env=LARGE if SEED % 2 else {})
        with Workload(stack, outbox=OUTBOX) as work:
            scene = Scene(stack, work, random.Random(SEED), disk)  # noqa: S311 -- reproducible on purpose
            with Writing(work):
                play(plan, scene)
                time.sleep(2.0)
            run = work.finish(patience=180)
        findings = check(run)
        outcomes = Counter(one.outcome.value for one in run.operations)
        tell(
            f"seed {SEED}: {len(run.stored)} messages stored, {len(run.acked)} acknowledged, "
            f"{len(plan.steps)} faults of {len(faults)} kinds; operations {dict(outcomes)}; "
            f"longest silence {work.silence():.1f} s; findings: {summary(findings) or 'none'}"
        )
        stack.stop()
    assert not findings, f"seed {SEED}: {summary(findings)}"
    sends = [one for one in run.operations if one.kind != "intrude"]
    assert not [one for one in sends if one.outcome is Outcome.UNKNOWN], "everything is settled in the end"
    assert {one.code for one in sends if one.outcome is Outcome.FAIL} <= {"dead_letter"}


def test_the_same_seed_is_the_same_schedule() -> None:
    names = list(FAULTS)
    assert schedule(7, names, seconds=300) == schedule(7, names, seconds=300) != schedule(8, names, seconds=300)
    assert {step.fault for step in schedule(7, names, seconds=1).steps} == set(names)
