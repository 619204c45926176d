"""`kill -9` of each process in the middle of 2,000 sends: nothing acknowledged is lost, nothing is there twice (P1 to P4, P7)."""

from __future__ import annotations

import pytest

from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.faults.checker import check, summary
from tests.faults.workload import CLIENTS, MESSAGES, Workload

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shaken_stack(module_stacks: Stacks) -> RunningStack:
    """One stack for the module: each kill must leave it as good as new for the next."""
    return module_stacks()


@pytest.mark.parametrize("process", ["broker", "bridge", "api", "worker", "valkey"])
def test_kill_in_the_middle_of_2000_sends(shaken_stack: RunningStack, process: str) -> None:
    with Workload(shaken_stack) as work:
        killed: list[int] = []
        fault = work.when_acked(MESSAGES // 4, lambda: killed.append(shaken_stack.kill(process)))
        work.send()
        fault.join(60)
        run = work.finish()

    assert killed, "the fault never struck"
    assert len(run.acked) == MESSAGES, "every message is acknowledged in the end"
    assert len(run.received) == CLIENTS + 1, "the members, and the late device of one"
    findings = check(run)
    assert not findings, summary(findings)
