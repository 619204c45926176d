"""The checker is worth something: a build that acknowledges before it stores is caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Stacks
from tests.faults.checker import check
from tests.faults.workload import MESSAGES, Workload

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(300)]


def test_acknowledging_before_storing_is_caught(own_stack: Stacks) -> None:
    stack = own_stack(program=(str(Path(__file__).with_name("broken_stack.py")),))
    with Workload(stack) as work:
        fault = work.when_acked(MESSAGES // 4, lambda: stack.kill("bridge"))
        work.send()
        fault.join(60)
        run = work.finish(patience=40)

    kinds = {finding.kind for finding in check(run)}
    assert "lost" in kinds, "messages were acknowledged, and then the bridge was killed before it stored them"
