"""Three mongods, and their primary killed, frozen, or left without a majority under load (P1 to P4)."""

from __future__ import annotations

import threading
import time

import pytest

from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.faults.checker import check, summary
from tests.faults.workload import MESSAGES, Workload

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300)]

MAJORITY_LOST_SECONDS = 8.0
"""Longer than a primary without a majority needs to notice, and than a client waits for another."""


@pytest.fixture(scope="module")
def three_nodes(module_stacks: Stacks) -> RunningStack:
    """One stack for the module: each fault must leave it as good as new for the next."""
    return module_stacks(mongo_nodes=3)


def finish(work: Workload) -> None:
    run = work.finish()
    assert len(run.acked) == len(run.sent), "every message is acknowledged in the end"
    findings = check(run)
    assert not findings, summary(findings)


def test_the_primary_is_killed(three_nodes: RunningStack) -> None:
    with Workload(three_nodes) as work:
        first = three_nodes.primary()
        fault = work.when_acked(MESSAGES // 4, lambda: three_nodes.kill(first))
        work.send()
        fault.join(60)
        finish(work)


def test_the_primary_freezes_and_thaws_into_another_term(three_nodes: RunningStack) -> None:
    frozen = three_nodes.refresh()["processes"][three_nodes.primary()]
    thawed: list[int] = []

    def freeze() -> None:
        three_nodes.pause(three_nodes.primary())
        before = work.acked()
        while work.acked() < min(before + MESSAGES // 2, MESSAGES):  # written by the next primary
            time.sleep(0.01)
        three_nodes.resume(frozen)
        thawed.append(frozen)

    try:
        with Workload(three_nodes) as work:
            fault = work.when_acked(MESSAGES // 4, freeze)
            work.send()
            fault.join(60)
            finish(work)
    finally:
        three_nodes.resume(frozen)
    assert thawed, "nothing was acknowledged while the first primary was frozen"


def test_without_a_majority_nothing_is_acknowledged(three_nodes: RunningStack) -> None:
    """Both secondaries freeze: what is acknowledged from then on would be lost with the primary's disk."""
    primary = three_nodes.primary()
    secondaries = [name for name in three_nodes.refresh()["mongo_nodes"] if name != primary]
    frozen: list[int] = []
    try:
        with Workload(three_nodes) as work:
            work.send(MESSAGES // 2, pause=0.001)
            frozen += [three_nodes.pause(name) for name in secondaries]
            time.sleep(1.0)  # what the majority had before reaches the clients
            acked = work.acked()
            sender = threading.Thread(target=work.send, args=(MESSAGES // 2,))
            sender.start()
            time.sleep(MAJORITY_LOST_SECONDS)
            assert work.acked() == acked
            for pid in frozen:
                three_nodes.resume(pid)
            sender.join(60)
            finish(work)
    finally:
        for pid in frozen:
            three_nodes.resume(pid)
